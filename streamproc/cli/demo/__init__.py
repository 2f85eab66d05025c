"""`streamproc demo`: the whole way from messages to tables, on the in-memory broker."""

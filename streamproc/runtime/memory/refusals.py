"""What the in-memory broker refuses, named as Kafka names it. Drivers and the log turn these into a user's errors.

```
Refused
├── UnknownTopic            no such topic or partition
├── TopicExists
├── OffsetOutOfRange        retention has removed it, or it is beyond the end
├── UnknownMember           the member has left or was expired
│   └── InstanceReplaced    another process took over its instance
├── StaleGeneration         the member has moved on to another generation
├── ProducerFenced          a newer producer has this transactional id, or its transaction was timed out
└── InvalidTransactionState begin without end, or end without begin
```
"""

from __future__ import annotations


class Refused(Exception):
    """Base of all refusals; nothing was changed."""


class UnknownTopic(Refused):
    """No such topic or partition."""


class TopicExists(Refused):
    """A topic of this name is there already."""


class OffsetOutOfRange(Refused):
    """Below the first record that is still there, or beyond the end."""


class UnknownMember(Refused):
    """Not, or no longer, a member of the group."""


class InstanceReplaced(UnknownMember):
    """Another process has joined under the same instance name."""


class StaleGeneration(Refused):
    """The member has moved on to another generation."""


class ProducerFenced(Refused):
    """A newer producer has this transactional id."""


class InvalidTransactionState(Refused):
    """A transaction was begun twice, or ended without having begun."""

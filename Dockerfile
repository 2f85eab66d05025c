FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md ./
COPY streamproc streamproc
COPY topologies topologies
RUN python -m venv /opt/streamproc \
 && /opt/streamproc/bin/pip install --no-cache-dir -c constraints.txt .

FROM python:3.11-slim
# A fixed user, so that volumes keep their owner; it owns nothing but its data.
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin streamproc \
 && install -d -o 10001 -g 10001 /var/lib/streamproc/lake /var/lib/streamproc/state
COPY --from=build /opt/streamproc /opt/streamproc
COPY topologies /app/topologies
COPY config /app/config
WORKDIR /app
USER 10001:10001
ENV PATH=/opt/streamproc/bin:$PATH PYTHONUNBUFFERED=1
ENTRYPOINT ["streamproc"]
CMD ["--help"]

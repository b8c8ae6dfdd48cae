# One image for every role and for the Prefect server, so that all of them run the versions that are tested together:
# with a newer FastAPI a Prefect server dies at import, with a newer SQLAlchemy it starts and schedules nothing.

FROM python:3.11.15-slim-bookworm AS build
RUN python -m venv /opt/venv
COPY requirements.txt .
# Without compiled bytecode, importing Prefect takes several CPU-seconds in every process.
RUN /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check \
    --no-deps --require-hashes --compile -r requirements.txt

FROM python:3.11.15-slim-bookworm
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DATA_DIR=/home/quiz/data
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin quiz
COPY --from=build /opt/venv /opt/venv

WORKDIR /app
COPY *.py schema.sql prefect.yaml ./
COPY adaptation adaptation
COPY bot bot
COPY desk desk
COPY domain domain
COPY llm llm
COPY local local
COPY observability observability
COPY question_bank question_bank
COPY simulator simulator
COPY sql sql
COPY deploy/healthcheck.py deploy/healthcheck.py
# The user cannot write here, so what is not compiled now is compiled again in every process.
RUN python -m compileall -q .

USER quiz
STOPSIGNAL SIGTERM
# No HEALTHCHECK: what proves that a container serves differs by role, so docker-compose.yml says it for each.
ENTRYPOINT ["python", "main.py"]
CMD ["--help"]

# One image for every role and for the Prefect server, so that all of them run the versions that are tested together:
# with another FastAPI or SQLAlchemy than Prefect was made for, its server died at import, or started and scheduled nothing.

FROM python:3.11.15-slim-bookworm AS build
RUN python -m venv /opt/venv
COPY requirements.txt .
# Without compiled bytecode, importing Prefect takes several CPU-seconds in every process.
RUN /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check \
    --no-deps --require-hashes --compile -r requirements.txt

FROM python:3.11.15-slim-bookworm
LABEL org.opencontainers.image.title=data-engineering-quiz \
      org.opencontainers.image.version=0.1.0 \
      org.opencontainers.image.licenses=MIT
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DATA_DIR=/home/quiz/data
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin quiz
COPY --from=build /opt/venv /opt/venv

WORKDIR /app
COPY . .
# The user cannot write here, so what is not compiled now is compiled again in every process.
RUN python -m compileall -q .

USER quiz
STOPSIGNAL SIGTERM
# No HEALTHCHECK: what proves that a container serves differs by role, so docker-compose.yml says it for each.
ENTRYPOINT ["python", "main.py"]
CMD ["--help"]

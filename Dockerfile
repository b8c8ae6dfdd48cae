# One image for every role and for the Prefect server, so that all of them run the versions that are tested together:
# with another FastAPI or SQLAlchemy than Prefect was made for, its server died at import, or started and scheduled nothing.
# The tag moves on with fixes of Python 3.11 and Debian; DEPLOYMENT.md, "Images", pins a digest.

FROM python:3.11-slim-trixie AS build
RUN apt-get update -q && apt-get install -y -q --no-install-recommends binutils
RUN python -m venv --without-pip /opt/venv
COPY requirements.txt .
# Without compiled bytecode, importing Prefect takes several CPU-seconds in every process.
RUN python -m pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check \
    --no-deps --require-hashes --compile -r requirements.txt
# A fifth of it is packages' own tests, sources of compiled modules and what a debugger reads of these.
RUN cd /opt/venv/lib && find . -type d -name tests -prune -exec rm -r {} + \
    && find . -type f \( -name '*.[ch]' -o -name '*.cpp' -o -name '*.py[xi]' -o -name '*.pxd' \) -delete \
    && find . -type f -name '*.so' -not -path '*.libs/*' -exec strip --strip-unneeded {} +

FROM python:3.11-slim-trixie
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

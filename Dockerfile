# The image: serves /data/packages on port 8080, as any user, with a root file system that may be read-only.
#
#   docker build -t pypiserver/pypiserver .
#   docker run -p 80:8080 -v ~/packages:/data/packages pypiserver/pypiserver
#   docker run -p 80:8080 -v ~/.htpasswd:/data/.htpasswd pypiserver/pypiserver -P .htpasswd packages
#   docker run --read-only --cap-drop ALL --user 12345 -p 80:8080 -v ~/packages:/data/packages pypiserver/pypiserver

FROM python:3.13-slim AS build
COPY setup.py setup.cfg pyproject.toml README.rst LICENSE.txt /source/
COPY pypiserver /source/pypiserver
# Bytecode is made now, since a container may not be able to write it later.
RUN python -m venv /opt/pypiserver \
    && /opt/pypiserver/bin/pip install --no-cache-dir --compile '/source[web,metrics,objectstore,postgres,gunicorn]'

FROM python:3.13-slim
COPY --from=build /opt/pypiserver /opt/pypiserver
COPY --chmod=755 bin/docker-entrypoint /usr/local/bin/docker-entrypoint
# Open to every user id, since the one chosen with --user is known only when the container starts; owners are never changed.
RUN mkdir -p /data/packages /data/cache && chmod 777 /data /data/packages /data/cache

# The server's default folder is ~/packages, so it is /data/packages here.
# /data/cache is for --fallback-mode cache (see docker-entrypoint).
ENV HOME=/data \
    PATH=/opt/pypiserver/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /data
# What no -v names is kept in a volume of its own, as with the image of 1.x and 2.x.
VOLUME /data/packages /data/cache
USER 1000:1000
EXPOSE 8080
# Traefik and "depends_on" wait for the first answer, which Docker asks for only after one interval.
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=6 \
    CMD ["docker-entrypoint", "healthcheck"]
ENTRYPOINT ["docker-entrypoint"]

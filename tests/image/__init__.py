"""The image, built of the Dockerfile and run by a Docker daemon of the tests' own; the compose file, with Traefik."""

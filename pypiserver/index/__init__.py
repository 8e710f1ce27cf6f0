"""The use cases: read projects and files, publish, yank and delete them."""

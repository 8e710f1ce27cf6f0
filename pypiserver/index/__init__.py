"""The use cases of the index: read projects and files, and publish, yank and delete them."""

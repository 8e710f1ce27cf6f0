"""Packages in an object store: the roles of :mod:`pypiserver.folder`, over obstore."""

"""What handlers leave in a request's WSGI environ for those who write about it afterwards: log, metrics, statistics.

Nothing in the web layer reads these; a key that is missing means that nobody knows.
"""

CLIENT = "pypiserver.client"  # str: the address of the client, as far as trusted proxies tell
USER = "pypiserver.user"  # str: who logged in, for an action that needs it
ROUTE = "pypiserver.route"  # str: the rule of the route that answered
PAGE = "pypiserver.page"  # str: "hit" or "miss" in the page cache
CHANGE = "pypiserver.change"  # str: upload, delete, yank or unyank, once it was done
DOWNLOAD = "pypiserver.download"  # (project, version, bytes): the release whose file is sent, and its size
STATUS = "pypiserver.status"  # int: the status of the answer, once it began
LENGTH = "pypiserver.length"  # int: bytes of a body that the server sends by itself
EXCEPTION = "pypiserver.exception"  # the exception behind an answer that is an error

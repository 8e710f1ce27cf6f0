"""Keys of the WSGI environ under which handlers leave facts about a request for log, metrics and statistics.

**Invariants:** the web layer itself reads none of them; a missing key means "unknown".
"""

CLIENT = "pypiserver.client"  # str: the client's address, taken from trusted proxies if there are any
USER = "pypiserver.user"  # str: who logged in, for an action that needs it
ROUTE = "pypiserver.route"  # str: the rule of the route that matched
PAGE = "pypiserver.page"  # str: "hit" or "miss" in the page cache
CHANGE = "pypiserver.change"  # str: upload, delete, yank or unyank, once it was done
DOWNLOAD = "pypiserver.download"  # (project, version, bytes): the release whose file is sent, and its size
STATUS = "pypiserver.status"  # int: the status of the answer, once it began
LENGTH = "pypiserver.length"  # int: bytes of a body that the server sends by itself
EXCEPTION = "pypiserver.exception"  # the exception behind an answer that is an error

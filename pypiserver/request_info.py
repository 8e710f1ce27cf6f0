"""Keys of the WSGI environ under which handlers leave facts about a request for log, metrics and statistics.

**Invariants:** the web layer itself reads none of them but the principal; a missing key means "unknown".
"""

BEGAN = "pypiserver.began"  # int: when the request came (perf_counter_ns), where a server knows it better
CLIENT = "pypiserver.client"  # str: the client's address, taken from trusted proxies if there are any
USER = "pypiserver.user"  # str: who logged in, for an action that needs it
PRINCIPAL = "pypiserver.principal"  # access.principal.Principal: who was admitted to a route with an action
ROUTE = "pypiserver.route"  # str: the rule of the route that matched
PAGE = "pypiserver.page"  # str: "hit" or "miss" in the page cache
CHANGE = "pypiserver.change"  # str: upload, delete, yank or unyank, once it was done
DOWNLOAD = "pypiserver.download"  # (project, version, bytes): the release whose file is sent, and its size
# (index, result): the other index that the response is of, and hit, fetched, stale, withheld or unavailable
ELSEWHERE = "pypiserver.elsewhere"
STATUS = "pypiserver.status"  # int: the status of the answer, once it began
LENGTH = "pypiserver.length"  # int: bytes of a body that the server sends by itself
# str: the end of the line about the request: the file of a change, why it was refused, where it was redirected
NOTE = "pypiserver.note"
EXCEPTION = "pypiserver.exception"  # the exception behind an answer that is an error

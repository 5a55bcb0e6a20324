"""The studio: a page in the browser over the package, for people who share a machine (`bytheway studio`).

Public: `service.Studio`, which does all of it without a page, and `server.app_of`, what serves the page (extra
`studio`). Importing this imports no torch. May import `selection`, `tuning` and below.
"""

"""The studio: a page in the browser over the package, for people who share a machine (`bytheway studio`).

Public: `service.Studio`, which does all of it without a page; `page.studio_page` and `server.app_of`, the page and what
serves it (extra `studio`). Importing this imports no torch and no Gradio. May import `selection`, `tuning` and below.
"""

"""What people say of the clips of an experiment: a page to vote on, every vote on disk, and what the votes tell.

`study` is what is asked, fixed before the first vote; `prepare` draws it and makes its blind clips; `order` is what one
person is shown; `store` keeps it all in SQLite; `server` has the page; `results` counts. May import what `evaluation`
may.
"""

"""What a visitor with a browser sees, served from the package: no build step, no foreign host, no inline script.

- `router`: the routes, and the headers every answer of theirs has
- `sheets`: HTML with places for values, which are escaped as they are put in
- `shelf`: styles, scripts and pictures, under addresses that change with what is in them
- `qr`: an invoice as a picture
- `bills`: what a pay page shows of a job

The scripts in ``assets`` are modules as they are served. Whatever a stranger wrote reaches a page as text, never
as markup: ``dom.js`` knows no other way, and the Content-Security-Policy forbids one.
"""

from timmy_dvm.http.pages.router import Bill, Bills, Visitors, pages_router

__all__ = ["Bill", "Bills", "Visitors", "pages_router"]

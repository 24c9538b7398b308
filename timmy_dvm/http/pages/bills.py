"""What a pay page shows of a job, out of the ledger: its open invoice, and nothing that is its owner's alone."""

from ledger.money import sats_up
from timmy_dvm.core.transitions import AWAITING
from timmy_dvm.http.pages.router import Bill, Bills
from timmy_dvm.http.services import Services


def bills_of(services: Services) -> Bills:
    """Reads bills; of a job that waits for no payment nothing is to be paid."""

    async def bill(job_id: str) -> Bill | None:
        story = await services.store.story(job_id)
        if story is None:
            return None
        if story.job.state not in AWAITING or not story.invoices:
            return Bill(None, 0)
        invoice = story.invoices[-1]
        return Bill(invoice.bolt11, sats_up(invoice.amount))

    return bill

"""One fact in, one decision out: the heart of Timmy, and nothing but a table of who answers what.

A fact about money that came from outside is never refused. A fact that comes too late for its job (an answer
after the deadline, a second verdict) is remembered and changes nothing.
"""

from typing import assert_never

from timmy_dvm.core import (
    asking,
    bootstrap,
    claiming,
    credit,
    donating,
    forgetting,
    free_answers,
    payouts,
    questions,
    refunds,
    running,
    sending,
    sessions,
)
from timmy_dvm.core.actions import OperationDone, Refused
from timmy_dvm.core.bootstrap_facts import BootstrapAsked, NodeFailed, NodeProvisioned
from timmy_dvm.core.case import Case, Decision, Tell
from timmy_dvm.core.credit_facts import ForgetAsked, PayoutAsked, TopUpAsked
from timmy_dvm.core.donation_facts import DonationAsked
from timmy_dvm.core.facts import (
    CancelAsked,
    DeadlinePassed,
    EvalDone,
    Fact,
    InvoiceMade,
    InvoiceNotMade,
    InvoiceUnpaid,
    MentionHeard,
    PaymentOut,
    PaymentSeen,
    QuestionAsked,
    RefundClaimed,
    RefundDue,
    RequestReceived,
    RequestUnreadable,
    RunFailed,
    RunInterrupted,
    WorkDone,
)
from timmy_dvm.core.free_facts import FreeAnswerGiven
from timmy_dvm.core.operator_facts import StatusTold
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.refund_facts import (
    CreditWished,
    RefundFact,
    RefundInvoiced,
    RefundNotInvoiced,
    RefundWithdrawn,
)
from timmy_dvm.core.session_facts import SessionAsked, SessionCloseAsked, SessionIdle, SessionTopUpAsked


def decide(case: Case, fact: Fact, policy: Policy) -> Decision:
    """What follows from ``fact``, given the books around it. Pure, and total over all facts."""
    match fact:
        case RequestReceived() if fact.session_id is not None:
            return sessions.requested(case, fact, policy)
        case RequestReceived():
            return asking.asked(case, fact, policy)
        case RequestUnreadable():
            return Decision(tells=(Tell(Refused(code=fact.code, sentence=fact.sentence), fact.origin),))
        case QuestionAsked():
            return questions.answered(case, fact, policy)
        case StatusTold():
            return Decision(tells=(Tell(OperationDone(body={"op": "node-status", **fact.body}), fact.origin),))
        case TopUpAsked():
            return credit.asked(case, fact, policy)
        case DonationAsked():
            return donating.asked(case, fact, policy)
        case PayoutAsked():
            return payouts.asked(case, fact, policy)
        case ForgetAsked():
            return forgetting.asked(case, fact)
        case CancelAsked() if case.topup is not None:
            return credit.cancelled(case, fact)
        case MentionHeard():
            return questions.introduced(fact, policy)
        case CancelAsked():
            return asking.cancelled(case, fact, policy)
        case InvoiceMade() | InvoiceNotMade() | PaymentSeen() | InvoiceUnpaid() if case.bootstrap is not None:
            return bootstrap.of_its_invoice(case, fact, policy)
        case InvoiceMade() if fact.topup_id is not None:
            return credit.invoice_made(case, fact, policy)
        case InvoiceMade():
            return asking.invoice_made(case, fact, policy)
        case InvoiceNotMade() | PaymentSeen() | InvoiceUnpaid() if case.session is not None:
            return sessions.of_its_invoice(case, fact, policy)
        case InvoiceNotMade() if fact.topup_id is not None:
            return credit.invoice_not_made(case, fact)
        case InvoiceNotMade():
            return asking.invoice_not_made(case, fact, policy)
        case PaymentSeen() if case.topup is not None:
            return credit.paid(case, fact, policy)
        case PaymentSeen():
            return asking.paid(case, fact, policy)
        case InvoiceUnpaid() if case.topup is not None:
            return credit.unpaid(case, fact, policy)
        case InvoiceUnpaid():
            return asking.unpaid(case, fact, policy)
        case EvalDone():
            return running.judged(case, fact, policy)
        case WorkDone():
            return running.answered(case, fact, policy)
        case RunFailed():
            return running.failed(case, fact, policy)
        case RunInterrupted():
            return running.interrupted(case, fact, policy)
        case DeadlinePassed():
            return running.overdue(case, fact, policy)
        case RefundClaimed() | RefundDue() | PaymentOut():
            return _of_a_refund(case, fact, policy)
        case RefundInvoiced() | RefundNotInvoiced() | CreditWished() | RefundWithdrawn():
            return _of_a_refund(case, fact, policy)
        case FreeAnswerGiven():
            return free_answers.given(fact)
        case SessionAsked() | SessionTopUpAsked() | SessionCloseAsked() | SessionIdle():
            return sessions.decided(case, fact, policy)
        case BootstrapAsked() | NodeProvisioned() | NodeFailed():
            return bootstrap.decided(case, fact, policy)
        case _:
            assert_never(fact)


def _of_a_refund(
    case: Case, fact: RefundClaimed | RefundDue | PaymentOut | RefundFact, policy: Policy
) -> Decision:
    match fact:
        case RefundClaimed():
            return claiming.claimed(case, fact, policy)
        case RefundDue():
            return refunds.due_again(case, fact, policy)
        case RefundInvoiced():
            return sending.invoiced(case, fact, policy)
        case RefundNotInvoiced():
            return sending.not_invoiced(case, fact, policy)
        case CreditWished():
            return sending.turned_into_credit(case, fact)
        case RefundWithdrawn():
            return claiming.withdrawn(case, fact, policy)
        case PaymentOut() if payouts.is_payout(case.refund):
            return payouts.paid_out(case, fact, policy)
        case PaymentOut():
            return refunds.paid_out(case, fact, policy)
        case _:
            assert_never(fact)

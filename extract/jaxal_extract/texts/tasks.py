"""The ten tasks of the study: where their texts are on the Hugging Face hub, and what must be found there.

Row counts, numbers of classes and budgets are those of `jaxal.data.tasks`. A revision is a commit where one is known
that has the data; `refs/convert/parquet` is the branch in which the hub keeps a Parquet copy of a repository whose own
files are a loading script, which nothing runs any more.
"""

from typing import NamedTuple

from jaxal.data import tasks as study


class Task(NamedTuple):
    """One task on the hub.

    facts: its sizes. repository, revision, folder: where its files are; folder is the repository's name for one of
    several data sets in it. train: the splits that make the pool, joined in this order; test: the split to measure on.
    texts: the text columns to look for, one or two each, the hub's first; labels: the label columns to look for.
    classes: in the hub's order, which is that of the labels that are numbers. by_number: the names that the hub has
    for them are not known, so `classes` are ours and only the numbers count. leading_blanks: the hub's texts begin with
    one, which is stripped. escaped: line breaks and quotes are escaped in the hub's texts.
    """

    facts: study.Task
    repository: str
    revision: str
    texts: tuple[tuple[str, ...], ...]
    labels: tuple[str, ...]
    classes: tuple[str, ...]
    folder: str | None = None
    train: tuple[str, ...] = ("train",)
    test: str = "test"
    by_number: bool = False
    leading_blanks: bool = False
    escaped: bool = False


_GLUE = ("nyu-mll/glue", "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c")
_DBPEDIA = """Company EducationalInstitution Artist Athlete OfficeHolder MeanOfTransportation Building NaturalPlace
Village Animal Plant Album Film WrittenWork"""
_BANKING77 = """
activate_my_card age_limit apple_pay_or_google_pay atm_support automatic_top_up
balance_not_updated_after_bank_transfer balance_not_updated_after_cheque_or_cash_deposit beneficiary_not_allowed
cancel_transfer card_about_to_expire card_acceptance card_arrival card_delivery_estimate card_linking
card_not_working card_payment_fee_charged card_payment_not_recognised card_payment_wrong_exchange_rate
card_swallowed cash_withdrawal_charge cash_withdrawal_not_recognised change_pin compromised_card
contactless_not_working country_support declined_card_payment declined_cash_withdrawal declined_transfer
direct_debit_payment_not_recognised disposable_card_limits edit_personal_details exchange_charge exchange_rate
exchange_via_app extra_charge_on_statement failed_transfer fiat_currency_support get_disposable_virtual_card
get_physical_card getting_spare_card getting_virtual_card lost_or_stolen_card lost_or_stolen_phone
order_physical_card passcode_forgotten pending_card_payment pending_cash_withdrawal pending_top_up pending_transfer
pin_blocked receiving_money Refund_not_showing_up request_refund reverted_card_payment?
supported_cards_and_currencies terminate_account top_up_by_bank_transfer_charge top_up_by_card_charge
top_up_by_cash_or_cheque top_up_failed top_up_limits top_up_reverted topping_up_by_card transaction_charged_twice
transfer_fee_charged transfer_into_account transfer_not_received_by_recipient transfer_timing
unable_to_verify_identity verify_my_identity verify_source_of_funds verify_top_up virtual_card_not_working
visa_or_mastercard why_verify_identity wrong_amount_of_cash_received wrong_exchange_rate_for_cash_withdrawal
"""

TASKS = {
    "agnews": Task(
        study.TASKS["agnews"],
        "fancyzhx/ag_news",
        "eb185aade064a813bc0b7f42de02595523103ca4",
        texts=(("text",),),
        labels=("label",),
        classes=("World", "Sports", "Business", "Sci/Tech"),
    ),
    "banking77": Task(
        study.TASKS["banking77"],
        "legacy-datasets/banking77",  # PolyAI/banking77 is a script; one revision of mteb/banking77 lacks duplicates
        "f54121560de48f2852f90be299010d1d6dc612ec",
        texts=(("text",),),
        labels=("label", "category"),
        classes=tuple(_BANKING77.split()),
    ),
    "dbpedia": Task(
        study.TASKS["dbpedia"],
        "fancyzhx/dbpedia_14",
        "9abd46cf7fc8b4c64290f26993c540b92aa145ac",
        texts=(("content",), ("text",)),
        labels=("label",),
        classes=tuple(_DBPEDIA.split()),
        leading_blanks=True,
    ),
    "fnc1": Task(
        study.TASKS["fnc1"],
        "nid989/FNC-1",
        "bd74324bbcc68244e199c4fcdf9ed6fb837f33a5",  # of its README, later than its three CSV files
        texts=(("Headline", "articleBody"),),
        labels=("Stance",),
        classes=("agree", "disagree", "discuss", "unrelated"),
    ),
    "mnli": Task(
        study.TASKS["mnli"],
        *_GLUE,
        texts=(("premise", "hypothesis"),),
        labels=("label",),
        classes=("entailment", "neutral", "contradiction"),
        folder="mnli",
        test="validation_matched",
    ),
    "qnli": Task(
        study.TASKS["qnli"],
        *_GLUE,
        texts=(("question", "sentence"),),
        labels=("label",),
        classes=("entailment", "not_entailment"),
        folder="qnli",
        test="validation",
    ),
    "sst2": Task(
        study.TASKS["sst2"],
        *_GLUE,
        texts=(("sentence",),),
        labels=("label",),
        classes=("negative", "positive"),
        folder="sst2",
        test="validation",
    ),
    "trec6": Task(
        study.TASKS["trec6"],
        "CogComp/trec",
        "65752bf53af25bc935a0dce92fb5b6c930728450",  # in refs/convert/parquet
        texts=(("text",),),
        labels=("coarse_label", "label"),
        classes=("ABBR", "ENTY", "DESC", "HUM", "LOC", "NUM"),
    ),
    "wikitalk": Task(
        study.TASKS["wikitalk"],
        "OxAISH-AL-LLM/wiki_toxic",
        "refs/convert/parquet",  # without `balanced_train`, which repeats rows of train
        texts=(("comment_text",),),
        labels=("label", "toxic"),
        classes=("non-toxic", "toxic"),
        train=("train", "validation"),
        by_number=True,
    ),
    "yelp5": Task(
        study.TASKS["yelp5"],
        "Yelp/yelp_review_full",
        "c1f9ee939b7d05667af864ee1cb066393154bf85",
        texts=(("text",),),
        labels=("label",),
        classes=("1 star", "2 star", "3 stars", "4 stars", "5 stars"),
        escaped=True,
    ),
}

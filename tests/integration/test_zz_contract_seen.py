"""The last test of a whole run: openapi.yaml promises nothing that no test has ever seen."""

import contract
import pytest

# Promised all the same, and why no test waits for it.
NEVER_SEEN = {}


def is_whole_run(request):
    """All files, none of them filtered, and nothing has failed so far."""
    files = {item.path for item in request.session.items}
    here = request.path.parent
    is_filtered = request.config.option.keyword or request.session.testsfailed
    return not is_filtered and files == set(here.glob("test_*.py"))


def test_every_answer_that_the_file_promises_was_seen(request):
    if not is_whole_run(request):
        pytest.skip("only a whole run sees them all")
    promised = {
        (operation.id, status)
        for methods in contract.operations().values()
        for operation in methods.values()
        for status in operation.answers
        if status != "default"
    }
    unseen = promised - contract.SEEN
    assert unseen == set(NEVER_SEEN), "each answer is seen, or stands in NEVER_SEEN with a reason"

"""What every refusal looks like (RFC 9457)."""

import re


def expect_problem(answer, status, code):
    """The problem object, after everything that all of them share is checked."""
    what = f"{answer.request.method} {answer.request.url}"
    assert answer.status_code == status, f"{what}: {answer.status_code} {answer.text}"
    assert answer.headers["Content-Type"] == "application/problem+json", what
    problem = answer.json()
    kebab = re.sub(r"(?<!^)(?=[A-Z])", "-", code).lower()
    assert problem["code"] == code, f"{what}: {problem}"
    assert problem["type"] == f"urn:larder:problem:{kebab}", what
    assert problem["status"] == status, what
    assert problem["title"] and problem["detail"], what
    assert set(problem) <= {
        "type", "title", "status", "detail", "code",
        "sandboxes", "reference", "registry_status", "retry_after",
    }, f"{what}: {problem}"  # fmt: skip
    return problem

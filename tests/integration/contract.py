"""openapi/openapi.yaml, held against every request that the tests make and every answer they get.

`check()` hangs on each session of larder.py. What the server answers must be in the file: the
route, the status, the media type, each header and each field; a request that it grants must be
allowed by the file. SEEN collects what was answered, so that the end of a whole run can say
what the file promises and nobody has ever seen (contract_seen.py).
"""

import functools
import json
import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import jsonschema
import yaml

FILE = Path(__file__).resolve().parents[2] / "openapi/openapi.yaml"
METHODS = ("get", "put", "post", "delete", "head", "patch", "options")
SEEN = set()  # (operationId, status)

# Answers of any route, which the file describes once, as `default`.
ANYWHERE = {401, 403, 404, 405, 413, 429, 500, 503}
# Headers that belong to the connection, to every HTTP answer, or (the last) to every large one.
UNDOCUMENTED = {"date", "connection", "content-length", "content-type", "transfer-encoding"}
UNDOCUMENTED |= {"content-encoding", "vary"}


class ContractBroken(AssertionError):
    pass


@functools.cache
def document():
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(FILE.read_text(), Loader=loader)


def resolve(node):
    """The node, or what its $ref leads to."""
    while isinstance(node, dict) and "$ref" in node:
        target = document()
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def json_schema(schema, closed):
    """An OpenAPI 3.0 schema as JSON Schema, without references. Closed: an object has no field
    that is not written down."""
    schema = dict(resolve(schema))
    schema.pop("example", None)
    schema.pop("discriminator", None)
    nullable = schema.pop("nullable", False)
    for several in ("oneOf", "anyOf", "allOf"):
        if several in schema:
            schema[several] = [json_schema(part, closed) for part in schema[several]]
    if "items" in schema:
        schema["items"] = json_schema(schema["items"], closed)
    if "properties" in schema:
        fields = schema["properties"].items()
        schema["properties"] = {name: json_schema(field, closed) for name, field in fields}
        if closed:
            schema.setdefault("additionalProperties", False)
    if isinstance(schema.get("additionalProperties"), dict):
        schema["additionalProperties"] = json_schema(schema["additionalProperties"], closed)
    if nullable and "type" in schema:
        schema["type"] = [schema["type"], "null"]
    return schema


class Operation:
    def __init__(self, path, method):
        item = document()["paths"][path]
        self.path = path
        self.method = method
        self.spec = item[method]
        self.id = self.spec["operationId"]
        listed = [*item.get("parameters", []), *self.spec.get("parameters", [])]
        self.parameters = [resolve(parameter) for parameter in listed]

    @functools.cached_property
    def answers(self):
        return {status: resolve(answer) for status, answer in self.spec["responses"].items()}

    @functools.cached_property
    def bodies(self):
        return resolve(self.spec.get("requestBody", {}))

    @functools.cache
    def validator(self, status, media_type):
        """Of a body: `status` is that of the answer, or "request"."""
        whole = self.bodies if status == "request" else self.answers[status]
        schema = json_schema(whole["content"][media_type]["schema"], closed=True)
        return jsonschema.Draft7Validator(schema)


@functools.cache
def operations():
    """{path template: {method: Operation}}."""
    paths = document()["paths"]
    return {
        path: {method: Operation(path, method) for method in METHODS if method in item}
        for path, item in paths.items()
    }


def path_pattern(template):
    """A reference takes one or more raw segments, any other variable takes one."""
    pattern = re.escape(template).replace(r"\{", "{").replace(r"\}", "}")
    pattern = pattern.replace("{reference}", "(?P<reference>[^/]+(?:/[^/]+)*)")
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern))


@functools.cache
def patterns():
    """The most literal first, as the server's table has them."""
    templates = sorted(operations(), key=lambda path: (-len(re.sub(r"\{\w+\}", "", path)), path))
    return [(template, path_pattern(template)) for template in templates]


def find(path):
    """(template, {variable: value}) or (None, {})."""
    path = "/ui" if path == "/ui/" else path
    for template, pattern in patterns():
        match = pattern.fullmatch(path)
        if match:
            return template, {name: unquote(value) for name, value in match.groupdict().items()}
    return None, {}


def broken(what, why):
    raise ContractBroken(f"{what}: openapi.yaml says otherwise: {why}")


def validate(what, validator, value):
    for error in validator.iter_errors(value):
        best = jsonschema.exceptions.best_match([error])
        where = "/".join(str(part) for part in best.absolute_path)
        broken(what, f"at {where or 'the top'}: {best.message[:600]}")


def typed(schema, text):
    """A parameter's text as what its schema takes; itself when it is nothing of that kind."""
    kind = resolve(schema).get("type")
    if kind == "integer" and re.fullmatch(r"-?\d+", text):
        return int(text)
    if kind == "boolean" and text in ("true", "false"):
        return text == "true"
    return text


def check_parameters(what, operation, query, variables):
    known = {(parameter["in"], parameter["name"]): parameter for parameter in operation.parameters}
    given = [("query", name, value) for name, value in query]
    given += [("path", name, value) for name, value in variables.items()]
    for place, name, value in given:
        parameter = known.get((place, name))
        if not parameter:
            broken(f"{what} was granted", f"there is no {place} parameter {name}")
        schema = jsonschema.Draft7Validator(json_schema(parameter["schema"], closed=True))
        validate(f"{what}, {place} {name}, was granted", schema, typed(parameter["schema"], value))
    for (place, name), parameter in known.items():
        if parameter.get("required") and name not in [n for p, n, _ in given if p == place]:
            broken(f"{what} was granted", f"{place} parameter {name} is required")


def check_request_body(what, operation, request):
    content = operation.bodies.get("content", {})
    body = request.body
    if not body:
        if operation.bodies.get("required"):
            broken(f"{what} was granted", "it wants a body")
        return
    if not content:
        broken(f"{what} was granted", "it takes no body")
    media_type = request.headers.get("Content-Type", "").split(";")[0].strip().lower()
    if not media_type and "application/octet-stream" in content:
        return  # bytes of no type (RFC 9110, 8.3)
    if media_type not in content:
        broken(f"{what} was granted", f"a body of {media_type or 'no type'} is not taken")
    if media_type == "application/json":
        validate(f"{what} was granted", operation.validator("request", media_type), json.loads(body))


def check_answer_headers(what, answer, headers):
    documented = {name.lower() for name in answer.get("headers", {})}
    for name in headers:
        if name.lower() not in documented | UNDOCUMENTED:
            broken(what, f"no header {name} is documented")


def check_answer_body(what, operation, status, answer, response, is_read):
    content = answer.get("content", {})
    media_type = response.headers.get("Content-Type", "").split(";")[0].strip().lower()
    if response.request.method == "HEAD":
        return
    if not content:
        if is_read and response.content:
            broken(what, f"there is no body, and {response.content[:80]} came")
        return
    if media_type not in content:
        broken(what, f"the body is one of {list(content)}, not {media_type or 'without a type'}")
    if is_read and media_type.endswith("json"):
        validate(what, operation.validator(status, media_type), response.json())


def check_stray(what, response):
    """An answer to what is not in the file at all."""
    if response.status_code not in (400, 401, 403, 404, 405, 413, 431):
        broken(what, "there is no such path or method")
    if response.status_code in (404, 405) and response.request.method != "HEAD":
        schema = json_schema({"$ref": "#/components/schemas/Problem"}, closed=True)
        validate(what, jsonschema.Draft7Validator(schema), response.json())


def check(response, is_read=True):
    """Of requests: raises ContractBroken. Not `is_read`: the body is the caller's to stream."""
    request = response.request
    parts = urlsplit(request.url)
    method = request.method.lower()
    what = f"{request.method} {parts.path} -> {response.status_code}"
    template, variables = find(parts.path)
    methods = operations().get(template, {})
    operation = methods.get(method) or (methods.get("get") if method == "head" else None)
    if not operation:
        check_stray(what, response)
        return
    status = str(response.status_code)
    SEEN.add((operation.id, status if status in operation.answers else "default"))
    if status not in operation.answers:
        if response.status_code not in ANYWHERE or "default" not in operation.answers:
            broken(what, f"{operation.id} answers {sorted(operation.answers)}")
        status = "default"
    answer = operation.answers[status]
    check_answer_headers(what, answer, response.headers)
    check_answer_body(what, operation, status, answer, response, is_read)
    if response.status_code < 300:
        query = parse_qsl(parts.query, keep_blank_values=True)
        check_parameters(what, operation, query, variables)
        check_request_body(what, operation, request)


def check_event(text):
    """The data of one event of a pull's stream."""
    operation = operations()["/pulls/{id}/events"]["get"]
    validate("an event", operation.validator("200", "text/event-stream"), json.loads(text))


def on_response(response, **options):
    """The hook for requests.Session.hooks["response"]."""
    check(response, is_read=not options.get("stream"))

"""Makes strict JSON schemas for kubeconform, one file for each kind.

usage: schemas.py OUT SWAGGER CRD...

SWAGGER is Kubernetes' own OpenAPI description, each CRD a definition as JSON.
A field that no schema knows is an error, as the API server would have it with
strict validation.
"""
import json
import pathlib
import sys

out, swagger, *crds = map(pathlib.Path, sys.argv[1:])
definitions = json.loads(swagger.read_text())["definitions"]


def strict(schema, depth=0):
    """Resolves references and refuses unknown fields."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        schema = definitions[name]
    if depth > 40:  # CustomResourceDefinition refers to itself; nothing here does.
        return {}
    if schema.get("format") == "int-or-string" or schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    made = {k: v for k, v in schema.items() if k in ("type", "enum", "required", "pattern", "minimum", "maximum", "minLength", "maxLength")}
    if "properties" in schema:
        made["properties"] = {k: strict(v, depth + 1) for k, v in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            made["additionalProperties"] = False
    elif isinstance(schema.get("additionalProperties"), dict):
        made["additionalProperties"] = strict(schema["additionalProperties"], depth + 1)
    if "items" in schema:
        made["items"] = strict(schema["items"], depth + 1)
    return made


def write(kind, version, schema):
    (out / f"{kind}-{version}.json".lower()).write_text(json.dumps(schema))


for definition in definitions.values():
    for gvk in definition.get("x-kubernetes-group-version-kind", []):
        if gvk["kind"] in ("ConfigMap", "Deployment", "NetworkPolicy", "Pod", "Secret", "Service", "ServiceAccount") and gvk["version"] == "v1":
            write(gvk["kind"], "v1", strict(definition))
for path in crds:
    spec = json.loads(path.read_text())["spec"]
    for version in spec["versions"]:
        schema = strict(version["schema"]["openAPIV3Schema"])
        # The API server knows metadata; the CRD only says that it is there.
        schema["properties"]["metadata"] = strict({"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"})
        write(spec["names"]["kind"], version["name"], schema)

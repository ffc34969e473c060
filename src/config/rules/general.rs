//! Rules of the file as a whole, and of our own section.

super::rules! {
    YAML_SYNTAX, "yaml-syntax",
    "The file is not YAML, is empty, has a second document, or is nested too deep.",
    "Neither the agent nor balehook can read it: the deployment fails before any hook runs.",
    "Correct the line that is shown. Indent with spaces, never with tabs.",
    "";
    DUPLICATE_KEY, "duplicate-key",
    "A key stands twice in one mapping.",
    "The agents take the last one without a word, so that the first is lost.",
    "Keep one of them.",
    "";
    UNKNOWN_KEY, "unknown-key",
    "A key that balehook does not know stands in `x-balehook`.",
    "It would have no effect, and nobody would notice.",
    "Write the name that the help shows. Keys of your own begin with `x-`.",
    "x-balehook:\n  x-team: payments";
    MISSING_KEY, "missing-key",
    "A key that must be there is missing.",
    "Without it nothing can be deployed.",
    "Add the key that the help shows.",
    "version: 0.0\nos: linux";
    INVALID_VALUE, "invalid-value",
    "A value, or two values together, cannot be used.",
    "Nothing is deployed, because the engine would refuse it or do something else.",
    "Write what the help shows.",
    "";
    NOT_FOR_A_DEPLOYMENT, "not-for-a-deployment",
    "A key of Compose means nothing for one container or service.",
    "Ignored silently, it would promise what does not happen.",
    "The help says what to write instead.",
    "";
    VARIABLE, "variable",
    "A `$` begins no variable, or a variable that must be set is not.",
    "The value would not be what was meant.",
    "Write `$$` for a dollar sign, `${NAME}` for a variable, and set what `${NAME:?message}` asks for.",
    "environment:\n  PRICE: 5$$\n  GROUP: ${DEPLOYMENT_GROUP_NAME:-none}";
    UNSET_VARIABLE, "unset-variable",
    "A variable is not set here and has no default: an empty string is used.",
    "CodeDeploy sets its variables in hooks alone, so a check elsewhere may see less than the host does.",
    "Give it a default, or refuse the deployment where it is missing.",
    "environment:\n  GROUP: ${DEPLOYMENT_GROUP_NAME:-none}";
    NOT_IN_BUNDLE, "not-in-bundle",
    "A file that is named is not in the bundle.",
    "The deployment fails on the host; where a script of a hook may write the file, this is a warning.",
    "Put the file into the bundle. Paths are relative to appspec.yml.",
    "";
    POLICY, "policy",
    "The host's policy does not allow what the file asks for.",
    "The host refuses the deployment with exit code 15 before it touches anything.",
    "Leave it out, or ask the person who runs the host to allow it.",
    "";
    UNKNOWN_RULE, "unknown-rule",
    "A comment `# balehook: allow …` names no rule.",
    "It allows nothing, and the warning that it was meant for stays, or comes back one day unseen.",
    "Write a rule's name; `balehook explain` lists them.",
    "restart: \"no\" # balehook: allow no-restart-policy";
}

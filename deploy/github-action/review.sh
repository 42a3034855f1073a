#!/usr/bin/env bash
# Reviews network policy in a pull request: what is wrong, which expectations no longer hold, what opens and closes. Every finding is
# an annotation at its line; what changes is also told in the summary of the run. Exit 0 fine, 1 findings, 2 it could not be done.
#
# Wants `policyc` on the PATH, the repository as working directory, and the inputs of action.yml as POLICIES, CLUSTER, BASE,
# FAIL_ON and ALLOW_OPENING. Inputs are arguments of policyc and git, never text of this script.
set -uo pipefail

read -r -a given <<< "${POLICIES:-policies}"
# As the pull request names its files: an annotation at ./policies/a.yaml would be shown nowhere.
policies=()
shopt -s nullglob
for path in "${given[@]}"; do
    path=$(realpath --canonicalize-missing --relative-to=. "$path")
    # The whole repository is what stands in it, by name.
    if [[ $path == . ]]; then policies+=(*.policy *.yaml *.yml *.json */); else policies+=("$path"); fi
done
policies=("${policies[@]%/}")
cluster=${CLUSTER:?the cluster\'s manifests are needed}
worst=0

# Runs a command and remembers the worst end.
review() {
    echo "::group::${*:1:2}"
    "$@"
    local code=$?
    echo "::endgroup::"
    if ((code > worst)); then worst=$code; fi
    return "$code"
}

each() {
    local flag=$1 prefix=$2 path
    for path in "${policies[@]}"; do arguments+=("$flag" "$prefix$path"); done
}

arguments=()
each -f ""
review policyc check "${arguments[@]}" -c "$cluster" --format github --fail-on "${FAIL_ON:-error}"
# What has mistakes means nothing yet.
if ((worst > 0)); then exit "$worst"; fi

review policyc test "${policies[@]}" -c "$cluster" --format github --allow-none

if [[ -n ${BASE:-} ]]; then
    # A checkout has often its own commit alone.
    if ! git cat-file -e "$BASE^{commit}" 2> /dev/null; then
        git fetch --quiet --no-tags --depth=1 origin "$BASE" || exit 2
    fi
    arguments=()
    # Short, since it stands before every file of the old policies.
    short=$(git rev-parse --short "$BASE")
    # What the base does not have yet is where everything is allowed; that it cannot be asked is another thing.
    for path in "${policies[@]}"; do
        listed=$(git ls-tree "$BASE" -- "$path") || exit 2
        if [[ -n $listed ]]; then arguments+=(--from "git:$short:$path"); fi
    done
    if ((${#arguments[@]} == 0)); then arguments=(--from "$(mktemp -d)"); fi
    each --to ""
    opened=(--fail-on opened)
    if [[ ${ALLOW_OPENING:-false} == true ]]; then opened=(--exit-zero); fi
    review policyc diff "${arguments[@]}" -c "$cluster" --format github "${opened[@]}"
    if [[ -n ${GITHUB_STEP_SUMMARY:-} ]]; then
        {
            echo "### What this changes"
            echo '```'
            policyc diff "${arguments[@]}" -c "$cluster" --color never --exit-zero
            echo '```'
        } >> "$GITHUB_STEP_SUMMARY"
    fi
fi
exit "$worst"

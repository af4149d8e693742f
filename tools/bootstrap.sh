#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Prepares a Debian 12 machine to build, run and test ZkExecutor.
#
#   tools/bootstrap.sh --demo    what `make demo` needs
#   tools/bootstrap.sh --test    the same, plus what the tests need
#   tools/bootstrap.sh --bench   the same, plus the benchmarks' programs and Celery with Redis
#
# 1. Debian packages that are missing (needs root only if some are).
# 2. .build/venv with Airflow 3.3.2 at the versions of the constraints file.
# 3. ZkExecutor itself, built into that venv.
# 4. For the benchmarks: .build/bench-build, .build/bench-venv with Celery, and .build/bench-airflow
#    with Airflow, Celery, pandas and ZkExecutor.
#
# Each step is skipped when nothing that it reads has changed, so a second run
# takes about a second. Everything but the packages lives in .build/.
set -euo pipefail

readonly ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
readonly BUILD="$ROOT/.build"
readonly VENV="$BUILD/venv"
readonly CONSTRAINTS=constraints-airflow-3.3.2-py3.11.txt

readonly DEMO_PACKAGES=(
  build-essential cmake ninja-build ccache pkg-config
  libzookeeper-st-dev libcpprest-dev libboost-dev libprotobuf-dev protobuf-compiler prometheus-cpp-dev
  libspdlog-dev libcli11-dev nlohmann-json3-dev libmsgpack-cxx-dev libjwt-dev libssl-dev libzstd-dev zlib1g-dev
  python3-dev python3-venv python3-pybind11
  zookeeper libslf4j-java openjdk-17-jre-headless
)
readonly TEST_PACKAGES=(libgtest-dev postgresql spin clang-14 libclang-rt-14-dev)
readonly BENCH_PACKAGES=(redis-server iproute2)

say() { printf 'bootstrap: %s\n' "$*"; }
die() { printf 'bootstrap: %s\n' "$*" >&2; exit 1; }

usage() {
  sed -n '4,17s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
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
  say "installing ${#missing[@]} Debian packages: ${missing[*]}"
  mkdir -p "$BUILD"
  local log="$BUILD/apt.log"
  if ! { apt-get update -qq &&
         DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
           -o Dpkg::Options::=--force-confold "${missing[@]}"; } > "$log" 2>&1; then
    tail -n 20 "$log" >&2
    die "apt-get failed (all of it: $log). Is the Debian mirror reachable, and is this Debian 12?"
  fi
}

find_python() {
  local candidate
  for candidate in /usr/bin/python3.11 "$(command -v python3 || true)"; do
    if [[ -x "$candidate" ]] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  die "Python 3.10 or newer is missing. On Debian 12: apt-get install python3 python3-venv"
}

# done_already STAMP HASH: whether the step of that stamp has seen that hash.
done_already() { [[ "$(cat "$1" 2>/dev/null || true)" == "$2" ]]; }

install_python_packages() {
  local group="$1" stamp python hash
  cd "$ROOT/tools"
  hash="$(sha256sum "$CONSTRAINTS" requirements-*.txt | sha256sum | cut -d' ' -f1)"
  # What the tests need holds what the demo needs.
  for stamp in "$VENV/.stamp-$group" "$VENV/.stamp-test"; do
    if done_already "$stamp" "$hash"; then return; fi
  done

  python="$(find_python)"
  if ! "$VENV/bin/python" -c 'import pip' 2>/dev/null; then
    say "making a virtual environment with $python"
    rm -rf "$VENV"
    "$python" -m venv "$VENV" || die "could not make $VENV. On Debian: apt-get install python3-venv"
  fi
  say "installing Airflow 3.3.2 and what the $group needs (takes a minute or two)"
  "$VENV/bin/pip" install --quiet --disable-pip-version-check -r "requirements-$group.txt" \
      -c "$CONSTRAINTS" ||
    die "pip failed. Is PyPI reachable? (PIP_INDEX_URL and PIP_CERT are honoured.)
The constraints are for Python 3.11; this is $("$VENV/bin/python" --version)."
  printf '%s\n' "$hash" > "$VENV/.stamp-$group"
}

install_project() {
  local stamp="$VENV/.stamp-project" hash log="$BUILD/wheel.log"
  cd "$ROOT"
  [[ -e pyproject.toml ]] || die "there is no pyproject.toml in $ROOT"
  hash="$(find CMakeLists.txt pyproject.toml README.md LICENSE cmake common executor worker python \
            -type f ! -path '*/__pycache__/*' -print0 |
          LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)"
  if done_already "$stamp" "$hash"; then return; fi
  say "building ZkExecutor into $VENV (log: ${log#"$ROOT"/})"
  rm -f "$stamp"
  if ! CCACHE_DIR="$BUILD/ccache" CCACHE_BASEDIR="$ROOT" CCACHE_NOHASHDIR=1 CMAKE_GENERATOR=Ninja PATH="$VENV/bin:$PATH" \
       "$VENV/bin/pip" install --disable-pip-version-check --no-build-isolation --no-deps \
         --force-reinstall --verbose "--config-settings=build-dir=$BUILD/wheel" . > "$log" 2>&1; then
    { grep -nE "error:|Error:|FAILED:" "$log" || tail -n 5 "$log"; } | head -n 30 >&2
    die "building ZkExecutor failed; all of it: $log"
  fi
  printf '%s\n' "$hash" > "$stamp"
}

# Celery stays out of Airflow's environment.
install_neighbours() {
  local stamp="$BUILD/bench-venv/.stamp" hash python
  hash="$(sha256sum "$ROOT/bench/requirements.txt" | cut -d' ' -f1)"
  if done_already "$stamp" "$hash"; then return; fi
  python="$(find_python)"
  say "installing Celery for the comparison"
  rm -rf "$BUILD/bench-venv"
  "$python" -m venv "$BUILD/bench-venv" || die "could not make $BUILD/bench-venv"
  "$BUILD/bench-venv/bin/pip" install --quiet --disable-pip-version-check \
      -r "$ROOT/bench/requirements.txt" || die "pip failed. Is PyPI reachable?"
  printf '%s\n' "$hash" > "$stamp"
}

# Airflow with both executors: one environment, so that neither's tasks import more.
install_bench_airflow() {
  local venv="$BUILD/bench-airflow" hash project wheels="$BUILD/bench-wheel" log="$BUILD/bench-wheel.log"
  hash="$(cd "$ROOT" && sha256sum bench/requirements-tasks.txt tools/requirements-*.txt "tools/$CONSTRAINTS" |
          sha256sum | cut -d' ' -f1)"
  if ! done_already "$venv/.stamp" "$hash"; then
    say "installing Airflow, its Celery provider and pandas for the benchmark of tasks (a minute or two)"
    rm -rf "$venv"
    "$(find_python)" -m venv "$venv" || die "could not make $venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -c "$ROOT/tools/$CONSTRAINTS" \
        -r "$ROOT/bench/requirements-tasks.txt" || die "pip failed. Is PyPI reachable?"
    printf '%s\n' "$hash" > "$venv/.stamp"
  fi
  project="$(cat "$VENV/.stamp-project")"
  if done_already "$venv/.stamp-project" "$project"; then return; fi
  rm -rf "$venv/.stamp-project" "$wheels"
  cd "$ROOT"
  # Built already, in the same folder: this only packs it.
  if ! { CCACHE_DIR="$BUILD/ccache" CMAKE_GENERATOR=Ninja PATH="$VENV/bin:$PATH" \
           "$VENV/bin/pip" wheel --disable-pip-version-check --no-build-isolation --no-deps \
           "--config-settings=build-dir=$BUILD/wheel" --wheel-dir "$wheels" . &&
         "$venv/bin/pip" install --disable-pip-version-check --no-deps --force-reinstall "$wheels"/*.whl
       } > "$log" 2>&1; then
    tail -n 5 "$log" >&2
    die "installing ZkExecutor into $venv failed; all of it: $log"
  fi
  printf '%s\n' "$project" > "$venv/.stamp-project"
}

build_bench_programs() {
  local log="$BUILD/bench-build.log"
  cd "$ROOT"
  if ! { cmake --preset bench && cmake --build --preset bench; } > "$log" 2>&1; then
    { grep -nE "error:|Error:|FAILED:" "$log" || tail -n 5 "$log"; } | head -n 30 >&2
    die "building the benchmarks failed; all of it: $log"
  fi
}

case "${1:-}" in
  --demo) group=demo; packages=("${DEMO_PACKAGES[@]}") ;;
  --test) group=test; packages=("${DEMO_PACKAGES[@]}" "${TEST_PACKAGES[@]}") ;;
  --bench)
    group=test
    packages=("${DEMO_PACKAGES[@]}" "${TEST_PACKAGES[@]}" "${BENCH_PACKAGES[@]}")
    ;;
  --help|-h) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac
started="$(date +%s)"
install_packages "${packages[@]}"
install_python_packages "$group"
install_project
if [[ "$1" == --bench ]]; then
  install_neighbours
  install_bench_airflow
  build_bench_programs
fi
say "ready after $(($(date +%s) - started)) s"

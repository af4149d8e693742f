#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Proves from nothing that a new user gets where README says: a bare Debian in a folder, in it a
# clone of HEAD, and in it what a person would type.
#
#   tools/fresh.sh                       all of the below on Debian 12
#   tools/fresh.sh --suite trixie demo   one of them, here on Debian 13
#   tools/fresh.sh shell                 a shell in such a system, with the clone in /root/zk-executor
#
#   demo     make demo DEMO_ARGS=--once
#   readme   the blocks of README's section "Install", as written, up to a task that has run
#   wheel    make wheel; then that wheel in another bare system, which has no compiler and no -dev
#            package, up to a task that has run
#
# The system is Debian's minbase with ca-certificates, python3, make and git, nothing else. Its
# archive is kept in .build/fresh/ (--renew makes it anew); of the project nothing is kept. Needs
# root, and registries that this machine reaches: its own mirror, pip settings, certificates and
# proxy variables are handed in. A system ends with everything that was started in it.
#
# Prints the seconds of each part; exit code 0 only if all of them succeeded.
set -euo pipefail

readonly ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
readonly FRESH="$ROOT/.build/fresh"
readonly PACKAGES=ca-certificates,python3,make,git
readonly CLONE=/root/zk-executor

say() { printf 'fresh: %s\n' "$*"; }
die() { printf 'fresh: %s\n' "$*" >&2; exit 1; }
usage() { sed -n '4,23s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

suite=bookworm renew="" parts=()
while (($#)); do
  case "$1" in
    --suite) [[ $# -ge 2 ]] || { usage >&2; exit 2; }; suite="$2"; shift ;;
    --renew) renew=1 ;;
    --help|-h) usage; exit 0 ;;
    demo|readme|wheel|shell) parts+=("$1") ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
((${#parts[@]})) || parts=(demo readme wheel)
case "$suite" in
  bookworm|trixie) ;;
  *) die "no suite '$suite': bookworm is Debian 12, trixie is Debian 13" ;;
esac
[[ "$(id -u)" == 0 ]] || die "only root can make a system in a folder. Run it as root."

made=() inner=""
# Ends what runs in a system before its folder goes: with the first process of its name space all
# others end.
clean_up() {
  local system
  if [[ -n "$inner" ]]; then
    # unshare ignores the other signals while it waits.
    kill -KILL "$inner" 2>/dev/null || true
    wait "$inner" 2>/dev/null || true
  fi
  for system in "${made[@]}"; do rm -rf --one-file-system "$system"; done
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The archive of the bare system.
readonly BASE="$FRESH/base-$suite.tar"
make_base() {
  [[ -n "$renew" ]] && rm -f "$BASE"
  [[ -e "$BASE" ]] && return
  local mirror
  mirror="$(awk '/^URIs:/ { print $2; exit }' /etc/apt/sources.list.d/debian.sources 2>/dev/null ||
            awk '/^deb / { print $2; exit }' /etc/apt/sources.list)"
  command -v mmdebstrap >/dev/null ||
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends mmdebstrap >/dev/null; }
  mkdir -p "$FRESH"
  say "making a bare $suite"
  # The format is named because mmdebstrap would guess it from the name, and make a folder.
  mmdebstrap --quiet --format=tar --variant=minbase --include="$PACKAGES" "$suite" "$BASE.new" "$mirror"
  mv "$BASE.new" "$BASE"
}

# Sets NEW to the folder of a new bare system. With a clone of HEAD unless told "empty".
new_system() {
  NEW="$(mktemp -d "$FRESH/$suite-XXXXXX")"
  made+=("$NEW")
  chmod 755 "$NEW"
  tar -C "$NEW" -xf "$BASE"
  local file
  for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
    [[ ! -e "$file" ]] || cp --dereference --remove-destination "$file" "$NEW$file"
  done
  # As in Debian's container images: nobody needs what a crash of this machine would lose.
  echo force-unsafe-io > "$NEW/etc/dpkg/dpkg.cfg.d/unsafe-io"
  [[ "${1:-}" == empty ]] || git clone --quiet --no-hardlinks "file://$ROOT" "$NEW$CLONE"
}

# within SYSTEM COMMAND…: runs it there, in name spaces of its own for mounts and processes, so
# that nothing of it stays. In the background, because bash obeys a signal only between commands.
within() {
  enter "$@" <&0 &
  inner=$!
  local code=0
  wait "$inner" || code=$?
  inner=""
  return "$code"
}

enter() {
  local system="$1"
  shift
  local -a environment
  # What names a folder of this machine's, where pip should look as well, is of no use there.
  mapfile -t environment < <(env | grep -v '^PIP_FIND_LINKS=' |
    grep -iE '^(PIP_|SSL_|REQUESTS_|(HTTPS?|ALL|NO)_PROXY=)' || true)
  exec unshare --mount --pid --fork --kill-child bash -euc '
      system="$1"
      shift
      mount --make-rprivate /
      mount -t proc proc "$system/proc"
      mount --rbind /dev "$system/dev"
      mount --rbind /sys "$system/sys"
      exec chroot "$system" "$@"' \
    within "$system" env -i HOME=/root TERM=dumb LANG=C.UTF-8 \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "${environment[@]}" "$@"
}

part_demo() {
  new_system
  within "$NEW" make -C "$CLONE" demo DEMO_ARGS=--once
  BUILT="$NEW"
}

part_readme() {
  new_system
  local log="$FRESH/readme-$suite.log"
  # Of all that these commands say, their places and the last block's output are enough.
  within "$NEW" bash -c "cd $CLONE && python3 tools/readme_blocks.py README.md Install > /root/install.sh
    exec bash -eu /root/install.sh" > >(tee "$log" | grep --line-buffered '^===') 2>&1 ||
    { tail -n 40 "$log" >&2 || true; die "README's installation failed; all of it: $log"; }
  tail -n 25 "$log"
}

part_wheel() {
  # The demo has left all that is needed, if it ran here.
  if [[ -z "${BUILT:-}" ]]; then new_system; BUILT="$NEW"; fi
  within "$BUILT" make -C "$CLONE" wheel
  local built="$BUILT"
  new_system empty
  mkdir "$NEW/root/wheel"
  cp "$built$CLONE"/dist/*.whl "$built$CLONE"/tools/constraints-airflow-*.txt "$NEW/root/wheel/"
  cp -r "$built$CLONE/tools/devstack" "$built$CLONE/tools/demo_dags" "$NEW/root/wheel/"
  cp "$built$CLONE/tools/try_wheel.py" "$NEW/root/wheel/"
  within "$NEW" bash -euc '
    cd /root/wheel
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # Java and ZooKeeper are what the wheel talks to; nothing here can compile.
    apt-get install -y -qq --no-install-recommends python3-venv zookeeper libslf4j-java \
      default-jre-headless > apt.log 2>&1 || { tail -n 20 apt.log; exit 1; }
    if command -v cc || dpkg-query -W -f "\${Package}\n" | grep -e "-dev$"; then
      echo "this system was to have no compiler and no -dev package"
      exit 1
    fi
    python3 -m venv venv
    constraints=(constraints-airflow-*.txt)
    venv/bin/pip install --quiet --disable-pip-version-check ./*.whl -c "${constraints[0]}"
    exec venv/bin/python try_wheel.py'
}

part_shell() {
  new_system
  (enter "$NEW" bash -c "cd $CLONE && exec bash -i")
}

make_base
[[ -z "$(git -C "$ROOT" status --porcelain)" ]] ||
  say "note: this is about HEAD, $(git -C "$ROOT" log -1 --format='%h %s'); uncommitted changes are not in it"
lines=()
for part in "${parts[@]}"; do
  say "=== $suite: $part"
  started=$SECONDS
  "part_$part"
  lines+=("$(printf '%-8s %-8s %5d s' "$suite" "$part" $((SECONDS - started)))")
done
printf 'fresh: %s\n' "${lines[@]}"
say "all succeeded"

# SPDX-License-Identifier: Apache-2.0
#
# For scripts that do long things: runs steps, several at a time if need be, each with its output
# in a log of its own, says every few seconds how far they are, and how many seconds each took.
#
#   start_step NAME LOG MEASURE COMMAND…   begins one; MEASURE is a function that is given LOG and
#                                          prints how far the step is, in a few words, or nothing
#   finish_steps                           waits for all that were begun
#
# After finish_steps has failed, FAILED_STEP is the name of the first that did and FAILED_LOG its
# log. Seconds by step are appended to the file STEP_SECONDS, if that is set.
#
# When the script ends, by a signal as well, the steps that still run end with it.
# To be sourced by bash. Needs a function say for lines of output.

STEPS_NAMES=() STEPS_PIDS=() STEPS_LOGS=() STEPS_MEASURES=() STEPS_STARTS=()
FAILED_STEP="" FAILED_LOG=""
# Between two lines of progress where there is no terminal whose line could be rewritten.
readonly STEPS_QUIET_SECONDS=15

start_step() {
  local name="$1" log="$2" measure="$3"
  shift 3
  mkdir -p "$(dirname "$log")"
  # A subshell of its own, so that set -e ends it at the first command that fails, and a process
  # group of its own, so that all of it can be ended.
  set -m
  ( set -e; "$@" ) > "$log" 2>&1 < /dev/null &
  set +m
  STEPS_PIDS+=($!) STEPS_NAMES+=("$name") STEPS_LOGS+=("$log") STEPS_MEASURES+=("$measure")
  STEPS_STARTS+=("$SECONDS")
  say "$name …"
}

# Ends what was begun with all that it started. For the end of the script, however it comes.
end_steps() {
  local pid
  for pid in "${STEPS_PIDS[@]}"; do kill -TERM -- "-$pid" 2>/dev/null || true; done
}
trap end_steps EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

finish_steps() {
  local -A open=()
  local i told=$SECONDS line last=""
  for i in "${!STEPS_PIDS[@]}"; do open[$i]=1; done
  while ((${#open[@]})); do
    sleep 0.2
    for i in "${!open[@]}"; do
      kill -0 "${STEPS_PIDS[$i]}" 2>/dev/null && continue
      unset "open[$i]"
      _steps_clear_line
      _steps_ended "$i"
    done
    line="$(_steps_progress "${!open[@]}")"
    if [[ -t 1 ]]; then
      [[ "$line" == "$last" ]] || { _steps_clear_line; printf '%s' "${line:0:${COLUMNS:-78}}"; }
      last="$line"
    elif ((${#open[@]} && SECONDS - told >= STEPS_QUIET_SECONDS)); then
      told=$SECONDS
      say "  $line"
    fi
  done
  STEPS_NAMES=() STEPS_PIDS=() STEPS_LOGS=() STEPS_MEASURES=() STEPS_STARTS=()
  [[ -z "$FAILED_STEP" ]]
}

_steps_ended() {
  local name="${STEPS_NAMES[$1]}" seconds=$((SECONDS - STEPS_STARTS[$1]))
  if wait "${STEPS_PIDS[$1]}"; then
    say "$name: done in $seconds s"
    [[ -z "${STEP_SECONDS:-}" ]] || printf '%s\t%s\n' "$name" "$seconds" >> "$STEP_SECONDS"
  else
    say "$name: failed after $seconds s"
    [[ -n "$FAILED_STEP" ]] || { FAILED_STEP="$name"; FAILED_LOG="${STEPS_LOGS[$1]}"; }
  fi
}

_steps_progress() {
  local i parts=() done_so_far
  for i in "$@"; do
    done_so_far="$("${STEPS_MEASURES[$i]}" "${STEPS_LOGS[$i]}" 2>/dev/null || true)"
    parts+=("${STEPS_NAMES[$i]}: ${done_so_far:-under way} ($((SECONDS - STEPS_STARTS[$i])) s)")
  done
  local IFS=$'\n'
  sed ':a; N; $!ba; s/\n/; /g' <<< "${parts[*]}"
}

_steps_clear_line() { [[ ! -t 1 ]] || printf '\r\033[K'; }

# What apt-get has done, of a log of "apt-get install -y".
measure_apt() {
  local new
  new="$(sed -nE 's/^[0-9]+ upgraded, ([0-9]+) newly installed.*/\1/p' "$1")"
  [[ -n "$new" ]] || { echo "$(grep -c '^Get:' "$1") packages fetched"; return; }
  echo "$(grep -c '^Unpacking' "$1") unpacked and $(grep -c '^Setting up' "$1") set up of $new packages"
}

# What pip has done, of a log of "pip install" that is not quiet.
measure_pip() {
  if grep -q '^Installing collected packages' "$1"; then
    echo "unpacking $(grep -c '^Collecting' "$1") packages"
  else
    echo "$(grep -c '^Collecting' "$1") packages found"
  fi
}

# What ninja has done, of the log of a build.
measure_ninja() {
  grep -oE '^ *\[[0-9]+/[0-9]+\]' "$1" | tail -n 1 | tr -d ' []' | sed 's#/# of #; s/$/ compiled/'
}

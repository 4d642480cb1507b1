#!/usr/bin/env bash
# Fuzzes every target whose name contains $2, each for $1 seconds, beginning
# with the files of the tests and with what earlier runs found interesting.
# Stops at the first find; its file is left in fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked --version 0.13.2
cargo +nightly fuzz build
fuzz/target/*/release/seeds
for target in $(cd fuzz/fuzz_targets && ls | sed 's/\.rs$//'); do
  [[ $target == *"${2-}"* ]] || continue
  options=(-max_total_time="$1" -max_len=65536 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1)
  # hayro has no limits of its own: the worker's stop it, as the tests show.
  [ "$target" != render_pdf ] || options+=(-fork=1 -ignore_ooms=1 -ignore_timeouts=1)
  # The container's parser asks for what a box says it has, and can be refused.
  [ "$target" != render_avif ] || options+=(-malloc_limit_mb=8192)
  # re_rav1d loses 48 bytes of each picture; workers are replaced.
  leaks=1
  [ "$target" != render_avif ] || leaks=0
  echo "== $target"
  ASAN_OPTIONS=detect_leaks=$leaks cargo +nightly fuzz run "$target" -- "${options[@]}"
done

#!/usr/bin/env bash
# Whether the kernels are right on this machine's GPU, and what the method costs on it, in 8 minutes at most.
#
#   benchmarks/gpu.sh [FOLDER]           results-cuda.json and .md, cost-cuda.png; into docs/benchmarks by default
#   benchmarks/gpu.sh --quick [FOLDER]   toy sizes on a CPU, kernels in Triton's interpreter, no curves: does it run?
#
# It needs this checkout and a python3 (or PYTHON=...) with torch, diffusers and transformers, and no network. What that
# python3 lacks can be carried as wheels: all that lie in the folder WHEELS=... come before what the machine has.
# Every figure is kept as soon as it is there. The exit code is 0 where all were measured, 1 where some are missing, which
# are named at the end, and 2 where nothing could be measured.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3}
device=cuda quick=()
if [[ ${1:-} == --quick ]]; then
    device=cpu quick=(--quick)
    shift
fi
out=${1:-$([[ $device == cuda ]] && echo "$root/docs/benchmarks" || echo "$root/runs/benchmarks")}
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PYTHONPATH="$root/src:$root${PYTHONPATH:+:$PYTHONPATH}" PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1
missing=()

say() { printf '[%3d s] %s\n' "$SECONDS" "$*" >&2; }

if [[ -n ${WHEELS:-} ]]; then
    say "Unpacking the wheels of $WHEELS"
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --disable-pip-version-check \
        --target "$work/packages" "$WHEELS"/*.whl || { say "The wheels of $WHEELS do not install."; exit 2; }
    export PYTHONPATH="$work/packages:$PYTHONPATH"
fi

cd "$root" || exit 2
"$python" - "$device" <<'PYTHON' || exit 2
import sys
from importlib.util import find_spec

needed = {
    "accelerate": "accelerate", "diffusers": "diffusers", "huggingface_hub": "huggingface_hub", "jaxtyping": "jaxtyping",
    "numpy": "numpy", "PIL": "pillow", "rich": "rich", "safetensors": "safetensors", "tomli_w": "tomli-w",
    "torch": "torch", "transformers": "transformers", "typer": "typer",
}
absent = [package for name, package in needed.items() if find_spec(name) is None]
if sys.version_info < (3, 11):
    sys.exit(f"Python 3.11 or later is needed, and {sys.executable} is {sys.version.split()[0]}; give another, PYTHON=...")
if absent:
    sys.exit(
        f"{sys.executable} lacks {', '.join(absent)}. Where there is a network: python3 -m pip download --no-deps -d wheels "
        f"{' '.join(absent)}; here: WHEELS=wheels benchmarks/gpu.sh"
    )
for name in ("triton", "matplotlib"):
    if find_spec(name) is None:
        print(f"{name} is not installed: there will be no {'kernels' if name == 'triton' else 'picture'}.", file=sys.stderr)

import torch
from importlib.metadata import version

found = ", ".join(f"{name} {version(name)}" for name in ("torch", "diffusers", "transformers"))
if sys.argv[1] == "cuda" and not torch.cuda.is_available():
    sys.exit(f"torch sees no GPU here ({found}); benchmarks/gpu.sh --quick runs on a CPU.")
print(f"{torch.cuda.get_device_name() if sys.argv[1] == 'cuda' else 'CPU'}; {found}", file=sys.stderr)
PYTHON

# measure END CASE FIGURE...: figures of a model, in what is left until END (seconds from the start). A process of its
# own, since an error on a GPU ends all that its process does there.
measure() {
    local end=$1 case=$2 figure options=() left code
    shift 2
    left=$((end - SECONDS))
    say "$case: $* (until $end s)"
    : >"$work/log"
    if ((left >= 10)); then
        for figure in "$@"; do options+=(--figure "$figure"); done
        options+=(--minutes "$((left / 60)).$(printf %02d $((left % 60 * 100 / 60)))" ${quick[@]+"${quick[@]}"})
        timeout --kill-after=2 $((left + 10)) \
            "$python" -m benchmarks --device "$device" --out "$out" --case "$case" "${options[@]}" 2>&1 >/dev/null |
            tee "$work/log" | grep --line-buffered -E " on $device\$|Warning|Error" >&2
        code=${PIPESTATUS[0]}
        ((code == 0)) || say "That ended with exit code $code: $(tail -n 1 "$work/log")"
    fi
    for figure in "$@"; do
        grep -qx "$case $figure on $device" "$work/log" || missing+=("$case $figure")
    done
}

# The most wanted first. With what each may need beyond its time they end within 480 seconds.
[[ $device == cpu ]] && export TRITON_INTERPRET=1
measure 110 animatediff kernels
unset TRITON_INTERPRET
measure 290 animatediff core step run
measure 410 videocrafter2 core step run
[[ $device == cuda ]] && measure 460 animatediff curves

if [[ ! -e $out/results-$device.json ]]; then
    say "Nothing was measured."
    exit 2
fi
"$python" -m benchmarks --device "$device" --out "$out" --show 2>/dev/null
say "Tables and values: $out/results-$device.md and .json"
if grep -H WRONG "$out/results-$device.md" >&2; then missing+=("a right result of the kernels above"); fi
if ((${#missing[@]})); then
    printf -v list '%s, ' "${missing[@]}"
    say "Missing: ${list%, }"
    exit 1
fi
say "Everything was measured"

#!/bin/sh
# Make tiny-chatglm3 from nothing: tokenizer, training, export, recorded answers, evaluation. See README.md.
# usage: test/model/make.sh [model directory]        (default: models/tiny-chatglm3 of this checkout)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/../../models/tiny-chatglm3}
work=$here/work
py=${PYTHON:-/usr/bin/python3}
"$py" -c 'import torch, sentencepiece' || {
    echo "needs: apt-get install python3-torch python3-sentencepiece" >&2
    exit 1
}
mkdir -p "$out" "$work"
cd "$here"
"$py" tokenizer.py "$out"
for stage in 1 2 3 4; do
    "$py" train.py "$out" "$work/model.pt" $stage 2>&1 | tee "$work/train.$stage.log"
done
"$py" export.py "$work/model.pt" "$out"
"$py" export.py --expected "$out" "$here/expected.json"
"$py" evaluate.py "$out"

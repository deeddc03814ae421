#!/usr/bin/env bash
# container.sh FOLDER HIDDEN...: in a mount namespace of its own, as root.  FOLDER has autograder.zip (unpacked there by
# Gradescope) and the hand-ins solution/, starter/ and mutant/.  The container is this machine's system under a layer of
# its own, gone afterwards, in which the HIDDEN folders are empty: the repository and its Python.  77: it cannot be made.
set -eu
folder=$1; shift
layer=$folder/layer
mkdir -p "$layer" "$folder/results"
mount -t tmpfs none "$layer" || exit 77
mkdir "$layer/upper" "$layer/work" "$layer/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$layer/upper,workdir=$layer/work" "$layer/root" || exit 77
for place in proc dev sys; do mount --rbind "/$place" "$layer/root/$place"; done
for place in "$@"; do mount -t tmpfs none "$layer/root/$place"; done

mkdir -p "$layer/root/autograder/source" "$layer/root/autograder/results"
(cd "$layer/root/autograder/source" && /usr/bin/python3 -m zipfile -e "$folder/autograder.zip" . \
    && chmod 755 setup.sh run_autograder && cp run_autograder ..)
chroot "$layer/root" bash /autograder/source/setup.sh
for hand_in in solution starter mutant; do
    rm -rf "$layer/root/autograder/submission" "$layer/root/autograder/results/results.json"
    cp -r "$folder/$hand_in" "$layer/root/autograder/submission"
    chroot "$layer/root" /autograder/run_autograder
    cp "$layer/root/autograder/results/results.json" "$folder/results/$hand_in.json"
done

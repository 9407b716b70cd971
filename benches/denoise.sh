#!/usr/bin/env bash
# How much noise each way of denoising takes away: simulated frames with clean twins, an autoencoder, a VAE and a U-Net of the
# shipped pipelines, small; a table an instrument: PSNR, SSIM, and what the sky is too bright by, on frames that no model has seen.
#   benches/denoise.sh WORK [telescope|detector ...]     ANOMALYD is the program; WORK gets frames, models and pictures
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,4p' "$0" | cut -c3-; exit 2; }
mkdir -p "$1"; work=$(realpath "$1"); shift
here=$(cd "$(dirname "$0")/.." && pwd)
anomalyd=${ANOMALYD:-anomalyd}
[ $# -gt 0 ] || set -- telescope detector

# A shipped pipeline made smaller: fewer frames certify less.
pipeline() { # INSTRUMENT KIND
  sed -e "s/^kind = \"vae\"/kind = \"$2\"/" -e 's/^split = .*/split = [0.7, 0.1, 0.2]/' -e 's/^batch_size = .*/batch_size = 16/' \
    -e 's/^alpha = .*/alpha = 0.05/' -e 's/^tiles_per_epoch = .*/tiles_per_epoch = 2000/' "$here/pipelines/$1.toml"
}
unet() {
  printf '\n[denoiser]\nkind = "unet"\nwidths = [8, 16, 32]\nnorm = "none"\nepochs = %s\nbatch_size = 8\nlearning_rate = 4e-3\n' "${EPOCHS:-12}"
}
run() { "$anomalyd" --models "$work/models" --pipelines "$work" "$@" 2>>"$work/log"; }

for name in "$@"; do
  rm -rf "${work:?}/${name:?}" "$work/models/$name"-*; mkdir -p "$work/$name"
  simulate() { run simulate "$name" --size 128 --anomalies 0 --clean --masks "$@" >/dev/null; }
  simulate --count 500 --seed 51 --out "$work/$name/train"
  simulate --count 60 --seed 52 --out "$work/$name/held"
  pipeline "$name" ae >"$work/$name-ae.toml"
  { pipeline "$name" vae; unet; } >"$work/$name-vae.toml"
  [ "$name" = detector ] || { pipeline "$name" ae; unet; } >"$work/$name-alone.toml"
  for kind in ae vae alone; do
    [ -e "$work/$name-$kind.toml" ] || continue
    clean=(--clean "$work/$name/train/clean"); [ "$kind" != alone ] || clean=()
    run train "$name-$kind" --data "$work/$name/train/frames" "${clean[@]}" >"$work/$name-$kind.txt"
    run denoise "$name-$kind" --noisy "$work/$name/held/frames" --clean "$work/$name/held/clean" \
      --out "$work/$name-$kind.png" --json >"$work/$name-$kind.json"
  done
  echo "== $name, 60 frames of 128x128"
  python3 - "$work/$name" <<'PYTHON'
import json, os, sys
read = lambda kind: {row["image"]: row for row in json.load(open(f"{sys.argv[1]}-{kind}.json"))}
ae, vae = read("ae"), read("vae")
rows = [("noisy input", ae["input"]), ("median of 3x3", ae["median"]), ("Gaussian of 1 px", ae["gaussian"]),
        ("AE", ae["ae"]), ("VAE", vae["vae"]), ("U-Net, clean twins", vae["unet"])]
if os.path.exists(f"{sys.argv[1]}-alone.json"):
    rows.append(("U-Net, noise added", read("alone")["unet"]))
print(f"{'':<20} {'PSNR, dB':>15} {'SSIM':>18} {'sky too bright by, sigma':>26}")
for title, row in rows:
    sky = "{:+.3f} +- {:.3f}".format(*row["sky"]) if row["sky"] else "-"
    print("{:<20} {:>15} {:>18} {:>26}".format(title, "{:.2f} +- {:.2f}".format(*row["psnr"]), "{:.4f} +- {:.4f}".format(*row["ssim"]), sky))
PYTHON
done

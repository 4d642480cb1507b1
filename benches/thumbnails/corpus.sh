#!/usr/bin/env bash
# Makes the corpus of the thumbnail benchmark in the directory $1, once:
# photographs from two Debian packages, put together to 12 and 24 megapixels
# without enlarging them; screenshots and documents from page.html.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/parts"
cd "$1"
[ ! -e complete ] || exit 0

tools=(vips /usr/bin/convert mutool cwebp avifenc chromium gs nginx wrk apt-get dpkg)
for tool in "${tools[@]}"; do
  command -v "$tool" >/dev/null || missing+=("$tool")
done
if [ -n "${missing-}" ]; then
  echo "not installed: ${missing[*]}. On Debian:" >&2
  echo "  apt-get install libvips-tools imagemagick ghostscript mupdf-tools webp libavif-bin chromium fonts-noto-cjk fonts-dejavu-core time nginx wrk" >&2
  exit 1
fi

# Photographs, the smallest 1920 × 1200.
if [ ! -d parts/usr ]; then
  (cd parts && apt-get download mate-backgrounds plasma-workspace-wallpapers && for deb in *.deb; do dpkg -x "$deb" .; done)
fi
mate=parts/usr/share/backgrounds/mate
plasma=parts/usr/share/wallpapers
photos=(
  $plasma/Path/contents/images/2560x1600.jpg $plasma/FallenLeaf/contents/images/2560x1600.jpg
  $mate/nature/LadyBird.jpg $mate/nature/RainDrops.jpg $mate/abstract/Elephants_5640x3172.jpg
  $mate/nature/Garden.jpg $mate/nature/Wood.jpg $mate/nature/TwoWings.jpg $mate/nature/Storm.jpg
)

# mosaic NAME COUNT ACROSS WIDTH HEIGHT: the first COUNT photographs, each cut to a size.
mosaic() {
  local tiles=()
  for photo in "${photos[@]:0:$2}"; do
    tile=parts/tile-${#tiles[@]}.v
    vips thumbnail "$photo" "$tile" "$4" --height "$5" --crop centre
    tiles+=("$tile")
  done
  vips arrayjoin "${tiles[*]}" "parts/$1.v" --across "$3"
}
vips thumbnail "${photos[0]}" parts/photo-3mp.v 2000 --height 1500 --crop centre
mosaic photo-12mp 4 2 2000 1500
mosaic photo-24mp 9 3 2000 1333
for size in 12mp 24mp; do
  vips jpegsave parts/photo-$size.v photo-$size.jpg --Q 90 --subsample-mode on --strip
  vips jpegsave parts/photo-$size.v photo-$size-progressive.jpg --Q 90 --subsample-mode on --interlace --strip
done
# One with filters, as most programs write it, one without, as vips does.
vips pngsave parts/photo-12mp.v photo-12mp.png --filter all --strip
vips pngsave parts/photo-24mp.v photo-24mp.png --strip
# As from a telephone in the evening: noise is what JPEG spends its bytes on.
vips gaussnoise parts/noise.v 4000 3000 --sigma 12 --seed 1
vips add parts/photo-12mp.v parts/noise.v parts/sum.v
vips cast parts/sum.v parts/noisy.v uchar
vips jpegsave parts/noisy.v photo-12mp-noisy.jpg --Q 90 --subsample-mode on --strip
for size in 3mp 12mp; do
  vips pngsave parts/photo-$size.v parts/$size.png --compression 1 --strip
  avifenc --speed 8 --min 20 --max 30 --yuv 420 --jobs 2 parts/$size.png photo-$size.avif >/dev/null
done
cwebp -quiet -q 80 parts/3mp.png -o photo-3mp.webp

# Screenshots, as a browser writes them.
browse() {
  chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --no-pdf-header-footer "$@" "file://$here/page.html" 2>/dev/null
}
browse --window-size=1920,1080 --screenshot="$PWD/screenshot-1080p.png"
browse --window-size=1920,1080 --force-device-scale-factor=2 --screenshot="$PWD/screenshot-2160p.png"
/usr/bin/convert screenshot-1080p.png screenshot-1080p.gif
/usr/bin/convert screenshot-1080p.png -alpha off BMP3:screenshot-1080p.bmp
cwebp -quiet -lossless screenshot-1080p.png -o screenshot-1080p.webp
# Twenty-four frames of a window that moves over a photograph.
for frame in $(seq 10 33); do
  vips crop parts/photo-3mp.v parts/frame-$frame.png $((frame * 4)) $((frame * 3)) 1280 720
done
/usr/bin/convert -delay 8 parts/frame-*.png animated-720p.gif

# Documents: with its fonts, without them, drawn, and scanned.
browse --print-to-pdf="$PWD/page.pdf"
{
  echo '%%MediaBox 0 0 595 842'
  echo '%%CJKFont F0 ja H sans'
  echo 'BT /F0 11 Tf 15 TL 50 780 Td'
  for line in $(seq 48); do
    printf '<%s> Tj T*\n' "$(printf '議事録 %d: 添付ファイルの保存先について検討し、次回までに試験する。' "$line" | iconv -t UTF-16BE | od -An -v -tx1 | tr -d ' \n')"
  done
  echo ET
} >parts/ja.txt
mutool create -o ja-not-embedded.pdf parts/ja.txt
# Cropped A4 at 200 dpi, with the noise of paper.
browse --window-size=1654,2339 --screenshot="$PWD/parts/scan.png"
/usr/bin/convert parts/scan.png -alpha off -seed 1 -attenuate 0.2 +noise Gaussian -quality 85 parts/scan.jpg
printf '%s\n' '%%MediaBox 0 0 595 842' '%%Image I0 parts/scan.jpg' 'q 595 0 0 842 0 0 cm /I0 Do Q' >parts/scan.txt
mutool create -o scan.pdf parts/scan.txt
{
  echo '%%MediaBox 0 0 595 842'
  awk 'BEGIN { srand(1); for (n = 0; n < 4000; n++) printf "%.2f %.2f %.2f rg %.1f %.1f m %.1f %.1f %.1f %.1f %.1f %.1f c h f\n", rand(), rand(), rand(), x = rand() * 560, y = rand() * 810, x + rand() * 40, y, x + 30, y + rand() * 40, x, y + 20 }'
} >parts/drawing.txt
mutool create -o drawing.pdf parts/drawing.txt

rm -rf parts
touch complete

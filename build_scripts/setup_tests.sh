#!/usr/bin/env bash
# Makes sure that Chromium, Firefox and a Vulkan driver are there: installs Debian's when it may (root, or sudo without a password), else says what to install.
set -euo pipefail
missing=()
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)
command -v firefox-esr >/dev/null || command -v firefox >/dev/null || missing+=(firefox-esr)
compgen -G '/usr/share/vulkan/icd.d/*.json' >/dev/null || compgen -G '/etc/vulkan/icd.d/*.json' >/dev/null ||
  [ -n "${VK_ICD_FILENAMES:-}${VK_DRIVER_FILES:-}" ] || missing+=(mesa-vulkan-drivers)
[ ${#missing[@]} -eq 0 ] && exit 0

if command -v apt-get >/dev/null; then
  as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
  if [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null; then
    echo "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    exit 0
  fi
  echo "The tests need ${missing[*]}: sudo apt-get install ${missing[*]}" >&2
else
  echo "The tests need what Debian calls ${missing[*]}: a Chromium and a Firefox on the PATH and a Vulkan driver (Mesa's lavapipe will do). Please install them." >&2
fi
exit 1

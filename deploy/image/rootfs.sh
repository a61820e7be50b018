#!/bin/sh
# Puts programs into a file tree of their own, with the libraries they load and nothing else:
#
#   rootfs.sh TREE FILE...
#
# No shell, no package manager and no Perl come along. Each Debian package that a file came from leaves its entry in
# var/lib/dpkg/status.d, where scanners look for the packages of an image that has no package manager, and its license.
set -eu
tree=$1
shift

# The folders of old are links here as they are in Debian; a file is always put where it really is.
mkdir -p "$tree/proc" "$tree/sys" "$tree/dev" "$tree/usr/bin" "$tree/usr/lib" "$tree/etc" "$tree/tmp" "$tree/var/lib/dpkg/status.d"
for folder in bin sbin lib lib64; do
  if [ -L "/$folder" ]; then
    mkdir -p "$tree/$(readlink "/$folder")"
    ln -sfn "$(readlink "/$folder")" "$tree/$folder"
  fi
done
chmod 1777 "$tree/tmp"

# put FILE: under its own name, also where that is a link
put() {
  folder=$(realpath "$(dirname "$1")")
  mkdir -p "$tree$folder"
  cp -p -L "$1" "$tree$folder/"
  credit "$folder/$(basename "$1")"
}

# credit FILE: the package it came from, if it came from one
credit() {
  package=$(dpkg-query -S "$1" 2>/dev/null || dpkg-query -S "$(realpath "$1")" 2>/dev/null || dpkg-query -S "${1#/usr}" 2>/dev/null) || return 0
  package=${package%%: *}
  name=${package%%:*}
  [ ! -e "$tree/var/lib/dpkg/status.d/$name" ] || return 0
  dpkg-query -s "$package" >"$tree/var/lib/dpkg/status.d/$name"
  if [ -r "/usr/share/doc/$name/copyright" ]; then
    mkdir -p "$tree/usr/share/doc/$name"
    cp -p -L "/usr/share/doc/$name/copyright" "$tree/usr/share/doc/$name/"
  fi
}

for file in "$@"; do
  put "$file"
  # A library that is not found is an error of the image, not of its first run.
  loaded=$(ldd "$file" 2>/dev/null) || continue
  if printf '%s' "$loaded" | grep 'not found'; then
    echo "$file lacks a library" >&2
    exit 1
  fi
  for library in $(printf '%s\n' "$loaded" | grep -o '/[^ ]*'); do
    put "$library"
  done
done
ldconfig -r "$tree"
rm -f "$tree/var/cache/ldconfig/aux-cache"

#!/bin/sh
# Installs kapok-agent from the files beside this script: no network, no pip of the system, plain sh.
# Each version has a folder of its own below PREFIX/versions; PREFIX/current names the one that runs.
set -u
umask 022 # the service's own user reads these files, also where root's umask is 077

PREFIX=/opt/kapok-agent
BIN=/usr/local/bin
PYTHON=
ACTION=install
SWITCH=yes
NEEDED_KIB=120000

case "${LC_ALL:-${LC_MESSAGES:-${LANG:-}}}" in zh*) IS_CHINESE=yes ;; *) IS_CHINESE=no ;; esac

# say ENGLISH CHINESE
say() {
  if [ "$IS_CHINESE" = yes ]; then printf '%s\n' "$2"; else printf '%s\n' "$1"; fi
}

# refuse ENGLISH CHINESE
refuse() {
  say "install.sh: $1" "install.sh：$2" >&2
  exit 1
}

usage() {
  cat <<'TEXT'
usage: sh install.sh [--prefix DIR] [--bin DIR] [--python FILE] [--no-switch] [--uninstall]

  --prefix DIR   where versions are installed (default: /opt/kapok-agent)
  --bin DIR      where the command kapok-agent is linked (default: /usr/local/bin; '' for nowhere)
  --python FILE  the Python to use, 3.11 or later (default: the newest that is found)
  --no-switch    install beside the version that runs, and leave that one current
  --uninstall    stop the service and remove the program; keys and settings stay

examples:
  sudo sh install.sh
  sh install.sh --prefix "$HOME/kapok-agent" --bin ''
  sudo sh install.sh --uninstall
exit codes: 0 done, 1 not possible (the message says why), 2 wrong arguments
TEXT
}

while [ $# -gt 0 ]; do
  case "$1" in
    --prefix | --bin | --python)
      [ $# -ge 2 ] || { usage >&2; exit 2; }
      case "$1" in --prefix) PREFIX=$2 ;; --bin) BIN=$2 ;; --python) PYTHON=$2 ;; esac
      shift 2
      ;;
    --no-switch) SWITCH=no; shift ;;
    --uninstall) ACTION=uninstall; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done
case "$PREFIX" in
  /) refuse '--prefix / is no folder of its own' '--prefix 不能是 /' ;;
  /*) ;;
  *) PREFIX=$(pwd)/$PREFIX ;;
esac
case "$PREFIX" in
  *[!A-Za-z0-9/._-]*) refuse "--prefix $PREFIX: letters, digits, and . _ - only" "--prefix $PREFIX：只能用字母、数字和 . _ -" ;;
esac
LINK=
[ -z "$BIN" ] || LINK=$BIN/kapok-agent

is_ours() { [ -L "$1" ] && [ "$(readlink "$1")" = "$PREFIX/current/bin/kapok-agent" ]; }

if [ "$ACTION" = uninstall ]; then
  [ -d "$PREFIX/versions" ] || refuse "nothing is installed in $PREFIX" "$PREFIX 中没有安装任何版本"
  unit=/etc/systemd/system/kapok-agent.service
  if [ "$(id -u)" = 0 ] && [ -f "$unit" ] && [ -d /run/systemd/system ] && grep -q "$LINK\|$PREFIX/" "$unit"; then
    systemctl disable --now kapok-agent.service && rm -f "$unit" && systemctl daemon-reload
  fi
  if [ -n "$LINK" ] && is_ours "$LINK"; then rm -f "$LINK"; fi
  rm -rf "$PREFIX/versions" "$PREFIX/current" || refuse "$PREFIX cannot be removed" "无法删除 $PREFIX"
  rmdir "$PREFIX" 2>/dev/null
  say "removed; /etc/kapok-agent and /var/lib/kapok-agent (settings, key, orders) are left" \
    "已卸载；/etc/kapok-agent 和 /var/lib/kapok-agent（设置、密钥、指令）仍保留"
  exit 0
fi

HERE=$(cd "$(dirname "$0")" && pwd) || exit 1
for name in architecture version pythons SHA256SUMS requirements.txt; do
  [ -f "$HERE/$name" ] || refuse "$name is missing beside this script: unpack the whole archive" "此脚本旁缺少 $name：请解压整个安装包"
done
WANTED=$(cat "$HERE/architecture")
PYTHONS=$(cat "$HERE/pythons")

MACHINE=$(uname -m)
[ "$MACHINE" = "$WANTED" ] || refuse \
  "this archive is for $WANTED, and this machine is $MACHINE: take the archive for $MACHINE" \
  "此安装包适用于 $WANTED，本机是 $MACHINE：请使用 $MACHINE 的安装包"
for loader in /lib/ld-musl-*; do
  [ ! -e "$loader" ] || [ -e /lib64/ld-linux-x86-64.so.2 ] || [ -e /lib/ld-linux-aarch64.so.1 ] || refuse \
    'this system has musl instead of glibc, for which the archive has no wheels: use the container image' \
    '本系统使用 musl 而不是 glibc，安装包不支持：请使用容器镜像'
done

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }
is_usable() {
  case " $PYTHONS " in *" $(version_of "$1") "*) ;; *) return 1 ;; esac
  "$1" -c 'import hashlib, sqlite3, ssl, venv, zlib' 2>/dev/null
}

FOUND=
NEAREST=
if [ -n "$PYTHON" ]; then candidates=$PYTHON; else
  candidates=
  for one in $PYTHONS; do candidates="python$one $candidates"; done
  candidates="$candidates python3"
fi
for one in $candidates; do
  path=$(command -v "$one" 2>/dev/null) || continue
  if is_usable "$path"; then FOUND=$path; break; fi
  [ -n "$NEAREST" ] || NEAREST="$one $(version_of "$path")"
done
if [ -z "$FOUND" ]; then
  have=${NEAREST:-none}
  refuse "Python 3.11 or later is needed (one of $PYTHONS, with ssl and sqlite3), and this machine has ${have}: install it (dnf install python3.11 or apt install python3.11), or name one with --python" \
    "需要 Python 3.11 或更高版本（$PYTHONS 之一，含 ssl 和 sqlite3），本机只有 ${have}：请安装（dnf install python3.11 或 apt install python3.11），或用 --python 指定"
fi
real=$("$FOUND" -c 'import os, sys; print(os.path.realpath(sys.executable))')
if [ "$(id -u)" = 0 ]; then
  case "$real" in
    /root/* | /home/*)
      say "note: $real is in a home folder, which the service may not read: better use a Python of the system" \
        "注意：$real 位于用户目录，服务可能无法读取：最好使用系统自带的 Python" >&2 ;;
  esac
fi

mkdir -p "$PREFIX/versions" || refuse "$PREFIX cannot be written: run it with sudo, or use --prefix" "无法写入 $PREFIX：请用 sudo 运行，或用 --prefix"
[ -w "$PREFIX/versions" ] || refuse "$PREFIX cannot be written: run it with sudo, or use --prefix" "无法写入 $PREFIX：请用 sudo 运行，或用 --prefix"
if [ -n "$LINK" ] && [ "$SWITCH" = yes ]; then
  if [ -e "$LINK" ] || [ -L "$LINK" ]; then
    is_ours "$LINK" || refuse "$LINK is another program: move it away, or use --bin" "$LINK 是另一个程序：请移走，或用 --bin"
  else
    { mkdir -p "$BIN" && [ -w "$BIN" ]; } || refuse "$BIN cannot be written: run it with sudo, or use --bin ''" "无法写入 $BIN：请用 sudo 运行，或用 --bin ''"
  fi
fi

"$FOUND" - "$HERE" <<'CODE' || refuse 'a file differs from SHA256SUMS: the archive is damaged, copy it again' '文件与 SHA256SUMS 不符：安装包已损坏，请重新复制'
import hashlib, pathlib, sys
here = pathlib.Path(sys.argv[1])
for line in (here / "SHA256SUMS").read_text().splitlines():
    digest, name = line.split("  ", 1)
    if hashlib.sha256((here / name).read_bytes()).hexdigest() != digest:
        sys.exit("%s differs" % name)
CODE

digest=$("$FOUND" -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest()[:8])' "$HERE/SHA256SUMS")
ID=$(cat "$HERE/version")-$digest
TARGET=$PREFIX/versions/$ID

if [ ! -f "$TARGET/complete" ]; then
  # What was cut short is made again from the start; the version that runs has another folder.
  rm -rf "$TARGET"
  free=$(df -Pk "$PREFIX/versions" | awk 'NR == 2 { print $4 }')
  [ "${free:-0}" -ge "$NEEDED_KIB" ] || refuse \
    "$PREFIX has $free KiB free, and $NEEDED_KIB are needed: make room, or use --prefix" \
    "$PREFIX 剩余 $free KiB，需要 $NEEDED_KIB KiB：请清理空间，或用 --prefix"
  for name in $(env | sed -n 's/^\(PIP_[A-Z0-9_]*\)=.*/\1/p'); do unset "$name"; done
  unset PYTHONHOME PYTHONPATH PYTHONSTARTUP
  pip=
  for one in "$HERE"/pip/pip-*.whl; do pip=$one; done
  "$FOUND" -m venv --without-pip "$TARGET" &&
    PYTHONPATH=$pip PIP_CONFIG_FILE=/dev/null "$TARGET/bin/python" -m pip install --quiet --no-index \
      --no-cache-dir --disable-pip-version-check -f "$HERE/wheels" --require-hashes -r "$HERE/requirements.txt" &&
    "$TARGET/bin/kapok-agent" --version >/dev/null || {
    rm -rf "$TARGET"
    refuse 'the installation failed, see above; nothing has changed' '安装失败，原因见上；未做任何更改'
  }
  sync
  : >"$TARGET/complete"
fi

if [ "$SWITCH" = no ]; then
  printf '%s\n' "$TARGET"
  exit 0
fi
"$FOUND" - "$PREFIX" "$ID" "$LINK" <<'CODE' || refuse 'the links cannot be written' '无法写入链接'
import os, sys
prefix, version, link = sys.argv[1:]
for path, target in ((prefix + "/current", "versions/" + version), (link, prefix + "/current/bin/kapok-agent")):
    if path:
        new = path + ".new"
        if os.path.lexists(new):
            os.unlink(new)
        os.symlink(target, new)
        os.replace(new, path)
CODE
program=${LINK:-$PREFIX/current/bin/kapok-agent}
say "$("$program" --version) is installed in $TARGET" "$("$program" --version) 已安装到 $TARGET"
if [ -d /run/systemd/system ]; then
  say "next: sudo $program join TOKEN --install" "下一步：sudo $program join TOKEN --install"
else
  say "next: $program join TOKEN; there is no systemd here, so let your supervisor run it" \
    "下一步：$program join TOKEN；本机没有 systemd，请用其他方式让它保持运行"
fi

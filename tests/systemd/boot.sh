#!/bin/bash
# The first process of a throw-away machine, in namespaces of its own: lays an overlay in memory over the host's root, makes
# that the root, prepares it, and becomes systemd. Nothing of it outlives the namespaces.
#   boot.sh FOLDER HOSTNAME PREPARE [SOURCE:TARGET...]      PREPARE: a script of the machine; SOURCE is bound read-write
set -euo pipefail
folder=$1 hostname=$2 prepare=$3
shift 3

mount -t tmpfs -o size=2g,mode=755 machine "$folder"
mkdir "$folder/upper" "$folder/work" "$folder/root"
root=$folder/root
mount -t overlay machine -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$root"

mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
# Settings of the kernel are the host's: nothing here may change them.
for path in sys sysrq-trigger; do
    if [ -e "$root/proc/$path" ]; then
        mount --bind "$root/proc/$path" "$root/proc/$path"
        mount -o remount,bind,ro "$root/proc/$path"
    fi
done
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755,nosuid,nodev run "$root/run"
mount -t tmpfs -o mode=1777,nosuid,nodev tmp "$root/tmp"

mount -t tmpfs -o mode=755,nosuid dev "$root/dev"
for device in null zero full random urandom tty; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777,nosuid,nodev shm "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"

: >"$root/etc/machine-id"
echo "$hostname" >"$root/etc/hostname"
hostname "$hostname"
ip link set lo up 2>/dev/null || true

# Of the host's services none: only what systemd itself needs, and what PREPARE enables.
units=$root/etc/systemd/system
rm -rf "$units"/*.wants "$units"/*.requires "$root"/etc/systemd/*.conf.d
for unit in systemd-{logind,udevd,udev-trigger,timesyncd,update-utmp,hwdb-update,binfmt,networkd,resolved,firstboot}.service \
    dev-{hugepages,mqueue}.mount sys-{fs-fuse-connections,kernel-config,kernel-debug,kernel-tracing}.mount \
    proc-sys-fs-binfmt_misc.{automount,mount} console-getty.service getty.target; do
    ln -sf /dev/null "$units/$unit"
done
mkdir -p "$root/etc/systemd/journald.conf.d" "$root/var/log/journal"
printf '[Journal]\nStorage=persistent\nRateLimitIntervalSec=0\n' >"$root/etc/systemd/journald.conf.d/machine.conf"

for pair in "$@"; do
    mkdir -p "$root${pair#*:}"
    mount --bind "${pair%%:*}" "$root${pair#*:}"
done

mkdir "$root/.host"
cd "$root"
pivot_root . .host
umount -l /.host
rmdir /.host
mount --make-rshared /
clean=(env -i container=test LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
"${clean[@]}" bash -euo pipefail "$prepare"
exec "${clean[@]}" /lib/systemd/systemd --system --unit=multi-user.target --log-target=journal --show-status=0

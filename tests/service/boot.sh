#!/bin/bash
# Inside fresh mount, process, network and control-group namespaces: lay a throw-away root over this machine's, and
# become its init. Everything that is written goes to memory and is gone with the last process.
#
#   boot.sh SCRATCH PAYLOAD [SOURCE:TARGET…]
#
# SCRATCH: an empty folder to mount on. PAYLOAD: a tree that is copied over the new root. SOURCE:TARGET: folders of the
# machine outside that are bound in; what is written there stays (the disk that survives a power cut).
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
scratch=$1 payload=$2
shift 2

mount --make-rprivate /
mount -t tmpfs -o mode=755,size=2g tmpfs "$scratch"
mkdir "$scratch"/{written,work,root}
root=$scratch/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$scratch/written,workdir=$scratch/work" "$root"

# What a kernel gives to init.
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$root/run"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp"
mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
mkdir "$root"/dev/{pts,shm}
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
for device in null zero full random urandom tty; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"

# A machine on which nothing is enabled but the journal and the bus: none of the services of the one outside, none of its disks.
rm -rf "$root"/etc/systemd/system/* "$root"/etc/rc?.d "$root"/var/log/journal "$root"/lib/systemd/system-generators/*
rm -rf "$root"/lib/systemd/system/{sysinit,sockets,timers,multi-user,local-fs,graphical}.target.wants
rm -rf "$root"/opt/syncd "$root"/etc/syncd "$root"/var/lib/syncd "$root"/var/lib/private/syncd
: >"$root/etc/fstab"
mkdir -p "$root"/lib/systemd/system/{sysinit,sockets}.target.wants "$root/etc/systemd/journald.conf.d"
ln -s ../systemd-journald.service ../systemd-tmpfiles-setup.service "$root/lib/systemd/system/sysinit.target.wants/"
ln -s ../systemd-journald.socket ../systemd-journald-dev-log.socket ../dbus.socket "$root/lib/systemd/system/sockets.target.wants/"
printf '[Journal]\nStorage=volatile\nRateLimitBurst=0\n' >"$root/etc/systemd/journald.conf.d/all.conf"

cp -a "$payload/." "$root/"
for pair in "$@"; do
  mkdir -p "$root${pair#*:}"
  mount --bind "${pair%%:*}" "$root${pair#*:}"
done
ip link set lo up

mkdir -p "$root/outside"
cd "$root"
pivot_root . outside
umount -l /outside
rmdir /outside
# systemd hands credentials over by a mount of its own, which has to arrive in the units' namespaces.
mount --make-rshared /
exec env -i container=syncd-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --system --unit=multi-user.target --show-status=false --log-target=journal

#!/bin/busybox sh
# The first and only program of the machine: makes the root usable, runs every test in /tests, says how each ended, and
# switches the machine off. The lines that begin with WEIR- are read by src/kernel/console.rs.
#
# Not here: anything that looks at results. Whoever started the machine passes judgement.

/bin/busybox --install -s /bin
export PATH=/programs:/bin HOME=/ CI=true WEIR_KERNEL=6.1 RUST_BACKTRACE=1

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mkdir -p /var/lib
ln -s /proc/self/fd /dev/fd

for module in /modules/*.ko; do
    [ ! -e "$module" ] || insmod "$module" || echo "the module $module cannot be loaded"
done
# By its path: this shell prefers its own, smaller `ip` to what is found by name.
/programs/ip link set lo up

echo
echo "WEIR-BEGIN $(uname -r)"
for test in /tests/*; do
    "$test" --test-threads=1 --nocapture </dev/null
    code=$?
    # A kernel that talks now would talk into the line that is read.
    dmesg -n 1
    echo
    echo "WEIR-EXIT $code ${test##*/}"
    dmesg -n 4
done
dmesg -n 1
echo
echo "WEIR-END"
poweroff -f

# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# A virtual machine for tests:   load ../lib/vm
#
# Debian's kernel for clouds, an initramfs that only finds the disk, and a root disk whose /sbin/init
# does what the kernel's command line says and powers off. QEMU emulates, so that neither KVM nor
# root is needed. The kernel package is downloaded (not installed) unless the machine has it already.

VM_PACKAGE=linux-image-cloud-amd64

# vm_requires: skips, or fails in strict mode.
vm_requires() {
	requires qemu-system-x86_64 busybox cpio depmod
}

# The newest kernel package's name, by the lists that are there.
vm_package() {
	apt-cache depends "$VM_PACKAGE" 2>/dev/null | awk '/Depends: linux-image/ { print $2; exit }'
}

# vm_download DIR: lists may be missing, or older than the mirror.
vm_download() {
	(cd "$1" && within 300 apt-get download -qq "$(vm_package)") || {
		apt-get update -qq
		(cd "$1" && within 300 apt-get download -qq "$(vm_package)")
	}
}

# vm_kernel DIR: sets $vm_version; vmlinuz and modules are in DIR/boot and DIR/lib/modules.
vm_kernel() {
	local dir=$1
	if ! compgen -G "$dir/boot/vmlinuz-*" >/dev/null; then
		mkdir -p "$dir/deb"
		vm_download "$dir/deb"
		dpkg-deb --fsys-tarfile "$dir/deb"/*.deb | tar -x -C "$dir" ./boot ./lib/modules
		rm -r "$dir/deb"
	fi
	vm_version=$(basename "$dir"/boot/vmlinuz-*)
	vm_version=${vm_version#vmlinuz-}
	depmod -b "$dir" "$vm_version"
}

# Everything that must be loaded, in order, as paths.
vm_modules() {
	local module
	for module in virtio_pci virtio_blk ext4; do
		modprobe -d "$1" -S "$vm_version" --show-depends "$module"
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
}

# vm_initramfs DIR: DIR/initrd.
vm_initramfs() {
	local dir=$1 root=$1/initramfs module
	mkdir -p "$root"/{bin,dev,proc,sys,modules,new}
	cp "$(command -v busybox)" "$root/bin/busybox"
	vm_modules "$dir" >"$dir/modules.list"
	while read -r module; do
		cp "$module" "$root/modules/"
		basename "$module"
	done <"$dir/modules.list" >"$root/modules/order"
	cat >"$root/init" <<-'END'
		#!/bin/busybox sh
		/bin/busybox mount -t devtmpfs dev /dev
		/bin/busybox mount -t proc proc /proc
		while read -r module; do /bin/busybox insmod /modules/$module; done </modules/order
		/bin/busybox mount -t ext4 -o rw /dev/vda /new || /bin/busybox poweroff -f
		/bin/busybox mount -o move /dev /new/dev
		/bin/busybox mount -o move /proc /new/proc
		exec /bin/busybox switch_root /new /sbin/init
	END
	chmod +x "$root/init"
	(cd "$root" && find . -print0 | cpio -0 -o -H newc --quiet) | gzip -1 >"$dir/initrd"
}

# vm_root_tree DIR: what the root disk holds.
vm_root_tree() {
	local root=$1 i
	mkdir -p "$root"/{bin,sbin,dev,proc,data}
	cp "$(command -v busybox)" "$root/bin/busybox"
	ln -s busybox "$root/bin/sh"
	for i in 1 2 3 4; do head -c 2M /dev/urandom >"$root/data/file$i"; done
	cat >"$root/sbin/init" <<-'END'
		#!/bin/busybox sh
		PATH=/bin
		b=/bin/busybox
		change() {
			$b dd if=/dev/urandom of=/data/file1 bs=64k count=32 conv=notrunc
			$b rm /data/file2
			$b cp /data/file3 /data/copied
			echo "written by the guest" >/data/new
			$b sync
			$b fstrim -v /
		}
		endless() {
			while :; do
				for n in 1 2 3 4 5 6; do
					$b dd if=/dev/urandom of=/data/load$n bs=64k count=16
					$b dd if=/dev/urandom of=/data/file$n bs=4k count=64 conv=notrunc
				done 2>/dev/null
				$b sync
				$b fstrim / 2>/dev/null
				echo "guest is busy"
			done
		}
		read -r line </proc/cmdline
		case $line in
		*task=change*) change ;;
		*task=endless*) endless ;;
		*task=trim*) $b rm /data/file4 && $b sync && $b fstrim -v / ;;
		*task=look*) $b cat /data/new ;;
		esac
		$b mount -o remount,ro / && echo "guest has finished"
		$b poweroff -f
	END
	chmod +x "$root/sbin/init"
}

# vm_command URI TASK: in the array $vm, to be run.
vm_command() {
	# shellcheck disable=SC2034
	vm=(qemu-system-x86_64 -accel tcg -m 256 -nodefaults -no-reboot -display none -serial stdio
		-kernel "$VM/boot/vmlinuz-$vm_version" -initrd "$VM/initrd"
		-append "console=ttyS0 quiet panic=-1 task=$2"
		-drive "file=$1,format=raw,if=virtio,discard=unmap,cache=writeback")
}

# vm_prepare DIR: there are a kernel, an initramfs and the image of a root disk, DIR/root.img.
vm_prepare() {
	vm_requires
	vm_kernel "$1"
	[ ! -e "$1/root.img" ] || return 0
	vm_initramfs "$1"
	vm_root_tree "$1/root"
	truncate -s 96M "$1/root.img"
	mkfs.ext4 -q -F -d "$1/root" "$1/root.img"
}

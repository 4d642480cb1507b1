# To be sourced: what the set-ups need of apt, without touching what others
# need of it.

as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n --preserve-env=PATH,BUNDLER_VERSION,DEBIAN_FRONTEND "$@"; fi
}

# Ends the set-up: not here, and why.
give_up() {
	echo "$*" >&2
	exit 77
}

# redmine_bundler DIRECTORY: puts a `bundle` first on PATH that is the version
# which Debian 12's Redmine asks for. With a newer one its package cannot be
# configured, and every later run of apt that touches gems deletes its Gemfile.lock.
redmine_bundler() {
	mkdir -p "$1/bin"
	printf '#!/bin/sh\nBUNDLER_VERSION=2.3.15 exec /usr/bin/bundle "$@"\n' >"$1/bin/bundle"
	chmod +x "$1/bin/bundle"
	export PATH=$1/bin:$PATH BUNDLER_VERSION=2.3.15
}

have_packages() {
	local name
	for name; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || return 1
	done
}

# Installs what is missing. The lists are only brought up to date when apt
# cannot do without.
install_packages() {
	have_packages "$@" && return
	export DEBIAN_FRONTEND=noninteractive
	as_root apt-get install -qq -y --no-install-recommends "$@" >/dev/null 2>&1 && return
	as_root apt-get update -qq
	as_root apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}

# debian_suite: the suite of the machine's own Debian sources, and
# debian_uri: where they are; both from apt itself.
debian_suite() { . /etc/os-release && echo "$VERSION_CODENAME"; }
debian_uri() {
	apt-get indextargets --format '$(REPO_URI)' "Codename: ${1:-$(debian_suite)}" 'Created-By: Packages' | head -n 1
}

# source_package NAME DIRECTORY [SUITE]: the upstream tarball of a source package,
# in SOURCE. With sources and lists of its own: the machine's stay as they are.
source_package() {
	local name=$1 dir=$2 suite=${3:-$(debian_suite)}
	SOURCE=$(ls "$dir/${name}"_*.orig.tar.* 2>/dev/null | grep -v '\.asc$' | head -n 1 || true)
	[ -n "$SOURCE" ] && return
	mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
	cat >"$dir/debian.sources" <<-END
		Types: deb-src
		URIs: $(debian_uri)
		Suites: $suite
		Components: main
		Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
	END
	local options=(-o "Dir::Etc::SourceList=$dir/debian.sources" -o Dir::Etc::SourceParts=/dev/null
		-o "Dir::State::Lists=$dir/lists" -o "Dir::Cache=$dir/cache" -o APT::Sandbox::User=root)
	apt-get "${options[@]}" -qq update &&
		(cd "$dir" && apt-get "${options[@]}" -qq source --download-only "$name" >/dev/null) || return
	SOURCE=$(ls "$dir/${name}"_*.orig.tar.* | grep -v '\.asc$' | head -n 1)
}

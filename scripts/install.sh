#!/bin/bash
# Installs ollama-pool from a checkout that is built, or from an unpacked tarball of `make dist`; or takes it away.
#
# usage: install.sh             programs, units, users, journal catalog, completions, documentation, configuration
#        install.sh uninstall   stops the pool without cutting a request, and removes all that but the configuration
#                               and the state; with PURGE=1 those and the two users too
#
#   PREFIX   /usr/local unless given. systemd looks for units below /usr and /usr/local only: with another prefix they
#            go to /usr/local/lib, and name the programs where they are.
#   PROGRAMS the folder with the programs and their library, where they are neither in .build/release nor in the tarball
#   DESTDIR  a folder to install into as if it were /, for a package: then nothing is done to the system that runs.
set -eu

PREFIX=${PREFIX:-/usr/local}
DESTDIR=${DESTDIR:-}
PURGE=${PURGE:-}
refuse_prefix() {
  echo "$*" >&2
  exit 64
}
# It is put into the units, where blanks, %, \ and the like mean something.
[[ $PREFIX =~ ^/[A-Za-z0-9/._+-]*$ ]] ||
  refuse_prefix "PREFIX is an absolute path of letters, digits and /._+- only, not '$PREFIX': choose another one, such as /opt/ollama-pool"
for hidden in /home /root /run /tmp /var/tmp; do
  [[ $(realpath -m "$PREFIX")/ != $hidden/* ]] ||
    refuse_prefix "PREFIX is $PREFIX, where the units can't see their programs (ProtectHome=, PrivateTmp=): choose another one, such as /opt/ollama-pool"
done

here=$(cd "$(dirname "$0")" && pwd)
if [[ -d $here/units ]]; then # an unpacked tarball
  source=$here
  programs=${PROGRAMS:-$here/bin}
  built=${PROGRAMS:-$here/lib/ollama-pool}
else
  source=$(dirname "$here")
  programs=${PROGRAMS:-$source/.build/release}
  built=$programs
fi

library=/usr/local/lib
[[ $PREFIX != /usr ]] || library=/usr/lib
bin=$DESTDIR$PREFIX/bin
# Where the simulator looks for its library, from its own place.
libraries=$DESTDIR$PREFIX/lib/ollama-pool
nvml=libSimulatedNVML.so
documentation=$DESTDIR$PREFIX/share/doc/ollama-pool
units=$DESTDIR$library/systemd/system
catalogs=$DESTDIR$library/systemd/catalog
sysusers=$DESTDIR$library/sysusers.d/ollama-pool.conf
tmpfiles=$DESTDIR$library/tmpfiles.d/ollama-pool.conf
configuration=$DESTDIR/etc/ollama-pool
state=$DESTDIR/var/lib/ollama-pool
bash_completion=$DESTDIR$PREFIX/share/bash-completion/completions/ollama-pool
zsh_completion=$DESTDIR$PREFIX/share/zsh/site-functions/_ollama-pool
fish_completion=$DESTDIR$PREFIX/share/fish/vendor_completions.d/ollama-pool.fish

# Whether this is about the system that runs here, and systemd runs it.
is_live() { [[ -z $DESTDIR && -d /run/systemd/system ]]; }
names() { # SUFFIX...: of the files in units/
  local suffix file
  for suffix; do
    for file in "$source"/units/*"$suffix"; do
      [[ ! -e $file ]] || basename "$file"
    done
  done
}

install_files() {
  local program unit catalog file
  for file in "$programs/ollama-pool" "$programs/ollama-simulator" "$built/$nvml"; do
    [[ -r $file ]] || {
      echo "$file is missing: make build" >&2
      exit 1
    }
  done
  install -d "$bin" "$libraries" "$documentation" "$units" "$catalogs" "${sysusers%/*}" "${tmpfiles%/*}" \
    "${bash_completion%/*}" "${zsh_completion%/*}" "${fish_completion%/*}"
  # Beside and then over the old one: a program that runs cannot be written to.
  for program in ollama-pool ollama-simulator; do
    install -m 755 "$programs/$program" "$bin/$program.new"
    mv -f "$bin/$program.new" "$bin/$program"
  done
  install -m 644 "$built/$nvml" "$libraries/$nvml.new"
  mv -f "$libraries/$nvml.new" "$libraries/$nvml"
  for unit in $(names .service .socket .target .slice); do
    sed "s|/usr/local/|$PREFIX/|g" "$source/units/$unit" >"$units/$unit"
    chmod 644 "$units/$unit"
  done
  for catalog in $(names .catalog); do install -m 644 "$source/units/$catalog" "$catalogs/"; done
  install -m 644 "$source/units/ollama-pool.sysusers" "$sysusers"
  install -m 644 "$source/units/ollama-pool.tmpfiles" "$tmpfiles"
  "$programs/ollama-pool" --generate-completion-script bash >"$bash_completion"
  "$programs/ollama-pool" --generate-completion-script zsh >"$zsh_completion"
  "$programs/ollama-pool" --generate-completion-script fish >"$fish_completion"
  install -m 644 "$source/README.md" "$source/LICENSE" "$documentation/"
  cp -R "$source/docs" "$source/config" "$documentation/"
}

install_configuration() {
  local file=$configuration/ollama-pool.yaml
  install -d "$configuration" "$configuration/ollama-pool.d"
  if [[ ! -e $file ]]; then
    install -m 640 "$source/config/ollama-pool.yaml" "$file"
  elif cmp -s "$source/config/ollama-pool.yaml" "$file"; then
    rm -f "$file.new"
  else
    install -m 640 "$source/config/ollama-pool.yaml" "$file.new"
    echo "Kept $file; this version's own is beside it, as ollama-pool.yaml.new."
  fi
}

bring_system_up_to_date() {
  systemd-sysusers "$sysusers"
  systemd-tmpfiles --create "$tmpfiles"
  journalctl --update-catalog
  systemctl daemon-reload
}

say_what_is_next() {
  echo
  echo "Installed ollama-pool $(cat "$source/VERSION") below $PREFIX. Next:"
  if systemctl --quiet is-active ollama-pool.target; then
    echo "  systemctl restart ollama-pool-dispatcher ollama-pool-supervisor   # runs the new version; what runs ends first, questions of the chat are kept, what else waits gets 503"
  else
    if systemctl --quiet is-active ollama.service; then
      echo "  systemctl disable --now ollama.service       # it holds port 11434; its models stay in use"
    fi
    echo "  \${EDITOR:-vi} $configuration/ollama-pool.yaml   # all of it has defaults"
    echo "  systemctl enable --now ollama-pool.target"
  fi
  echo "  ollama-pool status"
  echo "  ollama-pool doctor                           # if something is amiss"
}

uninstall() {
  if is_live; then
    systemctl --quiet disable ollama-pool.target 2>/dev/null || true
    # The parts by name as well: the stop of the target alone does not wait for the streams to end. Its instances are
    # part of it; those of another pool, such as a `serve`, are not, and go on.
    local parts
    read -ra parts < <(systemctl show --property=ConsistsOf --value ollama-pool.target) || true
    echo "Stopping the pool; running streams end first, waiting requests get status 503."
    systemctl stop ollama-pool.target 'ollama-pool-*.service' 'ollama-pool-*.socket' "${parts[@]}" 2>/dev/null || true
    systemctl reset-failed 'ollama-pool-*' "${parts[@]}" 2>/dev/null || true
    [[ -n $(systemctl list-units --all --plain --no-legend 'ollama-instance-*.service') ]] ||
      systemctl stop ollamapool.slice 2>/dev/null || true
  fi
  local file
  for file in $(names .service .socket .target .slice); do rm -f "$units/$file"; done
  for file in $(names .catalog); do rm -f "$catalogs/$file"; done
  rm -f "$bin/ollama-pool" "$bin/ollama-simulator" "$libraries/$nvml" "$sysusers" "$tmpfiles" \
    "$bash_completion" "$zsh_completion" "$fish_completion"
  rm -rf "$documentation"
  [[ ! -d $libraries ]] || rmdir --ignore-fail-on-non-empty "$libraries"
  if [[ $PURGE == 1 && -e $state/lock ]] && ! flock --nonblock "$state/lock" true; then
    echo "Another pool uses $state, such as an \`ollama-pool serve\` of root: end it, and purge again."
    PURGE=
  fi
  if [[ $PURGE == 1 ]]; then rm -rf "$configuration" "$state" "$state-dispatcher" "$state-instance"; fi
  if is_live; then
    # What another pool has in it stays.
    rmdir /run/ollama-pool 2>/dev/null || true
    systemctl daemon-reload
    journalctl --update-catalog
  fi
  if [[ $PURGE == 1 && -z $DESTDIR ]]; then remove_users; fi
  if [[ $PURGE != 1 && -d $configuration ]]; then
    echo "Removed ollama-pool. Kept: $configuration, $state*, the users (PURGE=1 removes them too)."
  fi
}

remove_users() {
  local user left=()
  for user in ollama-pool-instance ollama-pool; do
    ! getent passwd "$user" >/dev/null || userdel "$user" || left+=("$user")
  done
  ((${#left[@]} == 0)) || {
    echo "All is removed but the users ${left[*]}: end their processes, then \`userdel\` them." >&2
    exit 1
  }
}

umask 022
case ${1-install} in
  install)
    install_files
    install_configuration
    if is_live; then
      bring_system_up_to_date
      say_what_is_next
    fi
    ;;
  uninstall) uninstall ;;
  *)
    echo "usage: install.sh [uninstall]" >&2
    exit 64
    ;;
esac

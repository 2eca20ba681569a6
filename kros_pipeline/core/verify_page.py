"""VERIFY.txt: the commands with which a stranger checks a sealed day. A shell, GNU coreutils and openssl are enough.

The page is a shell script whose prose is comments, so that it can be read, pasted or run as it stands. It ends the
shell of nobody who pastes it: no `exit`, no `set -e`.
"""

from datetime import date

_TOOLS = r"""
for x in cat cmp comm csplit cut date head ls mkdir mktemp mv openssl paste rm seq sha256sum sort split tail tr wc; do
  command -v "$x" >/dev/null 2>&1 || fail "this machine has no $x, and nothing can be checked without it"; done
[ "$(seq 2 | head -n -1 | paste -d '"' - - - | cut -d '"' -f 1,2 --output-delimiter ' ')" = "1 " ] 2>/dev/null \
  || fail "the tools of this machine are not GNU coreutils"
"""

_FUNCTIONS = r"""
say() { printf '%s\n' "$1" | tr -cd '[:print:]\n'; }
fail() { say "FAILED: $1"; bad=yes; }
w=$(mktemp -d) || { fail "there is no folder for temporary files"; w=/nonexistent; }
"""

_SIGNATURES = r"""
while read -r f; do
  s=${f%.txt}; key=
  if [ -e "$s.sig" ]; then
    for k in seals/keys/*.pem; do
      if openssl dgst -sha256 -verify "$k" -signature "$s.sig" "$f" >/dev/null 2>&1; then
        x=$(openssl pkey -pubin -in "$k" -outform DER 2>/dev/null | sha256sum | cut -c1-64)
        case " ${SEAL_KEY:-$x} " in *" $x "*) key=$x ;; esac
      fi; done
    if [ -n "$key" ]; then say "$f: signed by the key $key"
    else fail "$f: no key in seals/keys${SEAL_KEY:+ that is one of SEAL_KEY} made its signature"; fi
  elif [ "$(head -n 10 "$f" | tail -n 1)" = "signature: due" ]; then fail "$f: its signature is missing"
  elif [ -n "$SEAL_KEY" ]; then fail "$f: it is not signed, and SEAL_KEY names who signs"
  else say "$f: not signed, no key was set"; fi
  if [ -e "$s.tsr" ]; then
    # The time is read from the token, which is signed; the answer around it is not.
    openssl ts -reply -in "$s.tsr" -token_out -out "$w/token" >/dev/null 2>&1
    openssl ts -reply -in "$w/token" -token_in -text 2>/dev/null > "$w/reply"; at=
    while IFS= read -r l; do case $l in 'Time stamp: '*) at=${at:-${l#Time stamp: }} ;; esac; done < "$w/reply"
    case $at in *.*) l=${at#*.}; at="${at%%.*} ${l#* }" ;; esac; sec=$(date -u -d "$at" +%s 2>/dev/null)
    openssl pkcs7 -inform DER -in "$w/token" -print_certs -out "$w/certificates" >/dev/null 2>&1
    if [ -n "$TSA_ROOT" ]; then set -- -CAfile "$TSA_ROOT" -untrusted "$w/certificates"
    else set -- -CAfile "$w/certificates" -partial_chain; fi
    if openssl ts -verify -data "$f" -in "$s.tsr" "$@" -attime "${sec:-0}" >/dev/null 2>&1; then
      say "$f: time-stamped $at by an authority whose certificates openssl prints as follows"
      openssl ts -reply -in "$s.tsr" -token_out 2>/dev/null | openssl pkcs7 -inform DER -print_certs -noout
    else fail "$f: its time-stamp is not of this seal, or its certificates do not hold at that time"; fi
    rm -f "$w/token" "$w/certificates"
  elif [ -n "$TSA_ROOT" ]; then fail "$f: it is not time-stamped, and TSA_ROOT names the authority"
  else say "$f: not time-stamped"; fi
done < "$w/mine"
"""

_PAGE = r"""# How to check the calls of @DAY@ with nothing but a shell, GNU coreutils and openssl.
#
# Copy the day, the seals and the day's tombstones into an empty folder, and go there:
#
#   for p in audio/dt=@DAY@ seals state/erased/dt=@DAY@; do
#     aws s3 cp --recursive @ARCHIVE@$p $p --exclude 'dt=*' --include 'dt=@DAY@/*'; done
#
# Then run this page (sh seals/dt=@DAY@/VERIFY.txt), or paste it into a shell. It changes nothing. Take the commands
# from the project's own documents if you do not trust the bucket: they are the same for every day.
# The last line says VERIFIED or NOT VERIFIED; each FAILED line before it says what is wrong.
#
# Whoever may write to the bucket can make all seals, keys and time-stamps anew. So compare them with what you were
# given on another way; set before the command, the page does it, and fails where it is not as you say:
#   HEAD='000012 <SHA-256>'   a head of the chain, as an earlier notification shows it
#   SEAL_KEY=<fingerprint>    the key that signs; of several, with blanks between them, any
#   TSA_ROOT=/path/root.pem   the certificate of the time-stamp authority that you trust

LC_ALL=C; export LC_ALL; day=@DAY@; d=seals/dt=$day; a=audio/dt=$day; bad=
@FUNCTIONS@
@TOOLS@
hash_lines() { # print the SHA-256 of each line of a file, in order; a file for each line, in memory where there is room
  mkdir "$w/c"; split -l 1000 -a 5 "$1" "$w/c/"
  for c in "$w"/c/*; do
    if [ -e "$c" ]; then
      for q in /dev/shm "$w"; do
        l=$(mktemp -d -p "$q" 2>/dev/null) && split -l 1 -a 4 "$c" "$l/" 2>/dev/null && break; rm -rf "$l"; done
      sha256sum "$l"/* | cut -c1-64; rm -r "$l"
    fi
  done; rm -r "$w/c"; }
lines_from() { # print a file from the first line on that matches; what is before it are remarks
  rm -f "$w/s00" "$w/s01"; csplit -s -k -f "$w/s" "$2" "$1" 2>/dev/null; if [ -e "$w/s01" ]; then cat "$w/s01"; fi; }
check_remarks() { # after `lines_from`: what is before the lines may be marks of erasures and withdrawn hashes only
  if [ -e "$w/s00" ]; then
    while IFS= read -r l || [ -n "$l" ]; do
      x=${l#'{"erasure":"'}; x=${x#'# erasure '}; x=${x#'# withdrawn '}; x=${x%'"}'}
      case $x in "$l"|''|*[!0-9a-f]*) fail "$1: before its first line it has something that was never sealed" ;; esac
    done < "$w/s00"; fi; }

# 1. The chain: the seals are numbered without a gap, and each names the SHA-256 of the seal before it.
for f in seals/seal-*.txt; do printf '%s\n' "$f"; done > "$w/seals"; n=$(wc -l < "$w/seals")
sha256sum seals/seal-*.txt 2>/dev/null | cut -c1-64 > "$w/hashes"
head -q -n 3 seals/seal-*.txt 2>/dev/null | paste -d '|' - - - > "$w/heads"
seq -f 'seals/seal-%06.0f.txt' 1 "$n" | comm -23 - "$w/seals" > "$w/gap"
[ -s "$w/gap" ] && fail "chain: $(head -n 1 "$w/gap") is missing"
{ printf '%064d\n' 0; head -n -1 "$w/hashes"; } > "$w/previous"
cut -c12-17 "$w/seals" | paste -d '|' - "$w/previous" > "$w/due"
cut -d '|' -f 1 "$w/heads" | cut -c7- > "$w/numbers"
cut -d '|' -f 2 "$w/heads" | cut -c11- | paste -d '|' "$w/numbers" - | comm -23 "$w/due" - 2>/dev/null > "$w/off"
[ -s "$w/off" ] && fail "chain: seal $(head -n 1 "$w/off" | cut -c1-6) does not name the seal before it"
cut -c12-17 "$w/seals" | paste -d ' ' - "$w/hashes" > "$w/chain"
if [ -n "$HEAD" ]; then printf '%s\n' "$HEAD" | comm -23 - "$w/chain" > "$w/off"
  [ -s "$w/off" ] && fail "chain: it never had the head $HEAD: seals were removed, or made anew"; fi

# 2. What the day's seals say that the day has, one version after the other.
paste -d '|' "$w/seals" "$w/heads" | while IFS='|' read -r f s p of; do
  if [ "$of" = "day: $day" ]; then printf '%s\n' "$f"; fi; done > "$w/mine"
[ -s "$w/mine" ] || fail "seals: there is none of $day"
: > "$w/records"; : > "$w/audio"; v=0; never=0; verdict=
while read -r f; do
  v=$((v + 1)); [ "$(head -n 4 "$f" | tail -n 1)" = "version: $v" ] || fail "$f: it is not version $v of the day"
  csplit -s -f "$w/part" "$f" '/^records:/' '/^audio:/' '/^withdrawn:/' '/^end$/' || fail "$f: it is cut"
  [ "$(cat "$w/part04")" = end ] || fail "$f: it goes on behind its end"
  never=$(head -n 5 "$f" | tail -n 1 | cut -c15-); verdict=$(head -n 8 "$f" | tail -n 1 | cut -c10-)
  case $verdict in ''|*[!a-z]*) fail "$f: its verdict is none" ;; esac
  case $never in 0|[1-9]*) ;; *) never=x ;; esac
  case $never in *[!0-9]*) fail "$f: its count of calls that were never sealed is no number"; never=0 ;; esac
  tail -n +2 "$w/part03" | sort > "$w/gone"
  tail -n +2 "$w/part01" | cat "$w/records" - | sort -u | comm -23 - "$w/gone" > "$w/next"; mv "$w/next" "$w/records"
  tail -n +2 "$w/part02" | cat "$w/audio" - | sort -u | comm -23 - "$w/gone" > "$w/next"; mv "$w/next" "$w/audio"
done < "$w/mine"

# 3. The manifest: every line is sealed, and only lines of erased calls are missing: as many as there are tombstones.
[ "$(ls -AN "$d" | paste -s -d ' ' -)" = "VERIFY.txt manifest-sha256.txt records.jsonl" ] \
  || fail "$d: a file is missing, or there are others"
lines_from '/^{"audio":/' "$d/records.jsonl" > "$w/rows"; r=$(wc -l < "$w/rows")
check_remarks "$d/records.jsonl"
lines_from '/^[0-9a-f]\{64\}  /' "$d/manifest-sha256.txt" > "$w/lines"
check_remarks "$d/manifest-sha256.txt"
head -n "-$r" "$w/lines" > "$w/of-audio"; tail -n "$r" "$w/lines" > "$w/of-records"; m=$(wc -l < "$w/of-audio")
for kind in records audio; do
  hash_lines "$w/of-$kind" | sort > "$w/now"
  unknown=$(comm -13 "$w/$kind" "$w/now" | wc -l); missing=$(comm -23 "$w/$kind" "$w/now" | wc -l)
  [ "$unknown" = 0 ] || fail "manifest: $unknown lines of $kind were never sealed"
  if [ $kind = records ]; then erased=$missing
  elif [ "$missing" -gt "$erased" ]; then
    fail "manifest: $missing sealed recordings are missing, and $erased records"; fi
done
t=0
for f in "state/erased/dt=$day"/*.json; do
  if [ -e "$f" ]; then case $(cat "$f") in
    *"\"day\": \"$day\""*) t=$((t + 1)) ;; *'"day":'*) fail "$f: it is the tombstone of another day" ;;
    *) t=$((t + 1)) ;; esac; fi
done
[ "$erased" = "$((t - never))" ] \
  || fail "manifest: $erased sealed records are missing, and $((t - never)) tombstones account for sealed calls"

# 4. The records: each has the hash of its manifest line, and names the same recordings as the manifest does.
hash_lines "$w/rows" > "$w/now"; cut -c1-64 "$w/of-records" | cmp -s - "$w/now" || {
  fail "records.jsonl: these records are not as they were sealed:"
  cut -c1-64 "$w/of-records" | paste -d ' ' - "$w/now" "$w/of-records" | while read -r x y z p; do
    if [ "$x" != "$y" ]; then printf '  %s\n' "$p"; fi; done; }
echo ' ' > "$w/none"; cut -d '"' -f 6,10 --output-delimiter ' ' "$w/rows" | sort -u | comm -23 - "$w/none" > "$w/named"
cut -c67- "$w/of-audio" > "$w/paths"
cut -c1-64 "$w/of-audio" | paste -d ' ' "$w/paths" - | sort | cmp -s - "$w/named" \
  || fail "manifest: it has other recordings than the records name"

# 5. The recordings: each has its hash, and there is no file that the manifest does not name.
if [ -s "$w/of-audio" ]; then
  sha256sum --quiet -c "$w/of-audio" 2>&1 || fail "$a: recordings are changed or missing"; fi
{ if [ -d "$a" ]; then ls -AN "$a"; fi; } | sort > "$w/there"
cut -c21- "$w/paths" | sort | comm -13 - "$w/there" > "$w/added"
[ -s "$w/added" ] && fail "$a: the manifest does not name $(head -n 3 "$w/added" | paste -s -d ' ' -)"

# 6. Signatures and time-stamps of the day's seals.
@SIGNATURES@

# 7. The result. Compare the head of the chain with one that left the bucket: it shows that no later seal was removed.
say "head of the chain: $(tail -n 1 "$w/chain")"
[ -n "$HEAD$SEAL_KEY$TSA_ROOT" ] \
  || say "not compared with anything from outside the bucket: HEAD, SEAL_KEY and TSA_ROOT are not set"
if [ -z "$bad" ]; then
  say "VERIFIED $day: $r calls and $m recordings are as they were sealed, $erased calls were erased since\
 (version $v of the day, $verdict)"
else say "NOT VERIFIED $day"; fi
rm -rf "$w"; [ -z "$bad" ]
"""


_PACKAGE = r"""# How to check an evidence package with nothing but a shell, GNU coreutils and openssl.
#
# Go to the folder of this page and run it (sh VERIFY.txt), or paste it into a shell. It changes nothing. The last line
# says VERIFIED or NOT VERIFIED; each FAILED line before it says what is wrong. It checks that recordings and records
# are those that were sealed. That a day is whole is checked in the archive, by the page beside the day.
#
# Whoever made the package could have made its seals and keys, too. So compare them with what you were given on another
# way; set before the command, the page does it, and fails where it is not as you say:
#   SEAL_KEY=<fingerprint>    the key that signs; of several, with blanks between them, any
#   TSA_ROOT=/path/root.pem   the certificate of the time-stamp authority that you trust

LC_ALL=C; export LC_ALL; bad=; calls=0
@FUNCTIONS@
@TOOLS@

# 1. What the seals say that there is.
for f in seals/seal-*.txt; do if [ -e "$f" ]; then printf '%s\n' "$f"; fi; done > "$w/mine"; : > "$w/sealed"
while read -r f; do
  csplit -s -f "$w/part" "$f" '/^records:/' '/^audio:/' '/^withdrawn:/' '/^end$/' || fail "$f: it is cut"
  [ "$(cat "$w/part04")" = end ] || fail "$f: it goes on behind its end"
  tail -n +2 "$w/part03" | sort > "$w/gone"
  { tail -n +2 "$w/part01"; tail -n +2 "$w/part02"; cat "$w/sealed"; } | sort -u | comm -23 - "$w/gone" > "$w/next"
  mv "$w/next" "$w/sealed"
done < "$w/mine"

# 2. Each call: recording and record have the hashes of the manifest's lines, and the seals have these lines.
for c in calls/*/*/; do
  calls=$((calls + 1)); named=; p=${c#calls/}; day=${p%%/*}; p=${p#*/}; own=seals/dt=$day/records/${p%/}.json
  recording=$(head -n 1 "${c}record.json" 2>/dev/null | cut -d '"' -f 6) # the key that the record names
  while read -r h p; do
    case $p in "$own") x=record.json ;; "$recording") x=recording.mp3 ;;
      *) fail "$c: $p is a line of another call"; continue ;; esac
    printf '%s  %s\n' "$h" "$p" | sha256sum | cut -c1-64 | comm -13 "$w/sealed" - > "$w/off"
    [ -s "$w/off" ] && fail "$c: no seal has the line of $p"
    named="$named $x"
    [ "$(sha256sum < "$c$x" 2>/dev/null | cut -c1-64)" = "$h" ] || fail "$c$x: it is not as it was sealed"
  done < "${c}manifest-lines.txt"
  case $named in *record.json*) ;; *) fail "$c: its record is not sealed" ;; esac
  if [ -n "$recording" ] || [ -e "${c}recording.mp3" ]; then
    case $named in *recording.mp3*) ;; *) fail "$c: its recording is missing, or is not sealed" ;; esac; fi
done

# 3. Signatures and time-stamps.
@SIGNATURES@

# 4. The result.
[ -n "$SEAL_KEY$TSA_ROOT" ] || say "not compared with anything from outside the package: SEAL_KEY, TSA_ROOT are not set"
if [ -z "$bad" ]; then say "VERIFIED $calls calls are as they were sealed"; else say "NOT VERIFIED"; fi
rm -rf "$w"; [ -z "$bad" ]
"""


def write_page(day: date, archive_url: str) -> bytes:
    """Return the page of a day. `archive_url` is `s3://bucket/prefix/`."""
    quoted = "'" + archive_url.replace("'", "'\"'\"'") + "'"  # a prefix may have quotes and brackets
    page = _complete(_PAGE).replace("@ARCHIVE@", quoted)
    return page.replace("@DAY@", day.isoformat()).encode()


def write_package_page() -> bytes:
    """Return the page of an evidence package."""
    return _complete(_PACKAGE).encode()


def _complete(page: str) -> str:
    """Put in what both pages have."""
    for name, part in (("FUNCTIONS", _FUNCTIONS), ("TOOLS", _TOOLS), ("SIGNATURES", _SIGNATURES)):
        page = page.replace(f"@{name}@", part.strip("\n"))
    return page

/*
 * formats.c - the formats that JSON Schema names, as patterns of the whole text.
 *
 * What validators disagree about is refused byte by byte, so that a text that was written
 * is valid to all of them: year 0000 (PostgreSQL and Python have none), a blank for the T
 * of a date-time, leap seconds at any other time than they come, quoted local parts of
 * addresses.
 */
#include "engine/constrain/pattern.h"

#include <string.h>

/* ---- Dates and times (RFC 3339) -------------------------------------------------------------- */

#define LEAP_YEAR "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
#define DATE                                                                                       \
	"(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|"                                \
	"(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|" LEAP_YEAR "-02-29)"
#define HOUR_MINUTE "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
#define TIME                                                                                       \
	"(?:" HOUR_MINUTE ":[0-5][0-9](?:\\.[0-9]+)?(?:[zZ]|[+-]" HOUR_MINUTE ")|"                     \
	"23:59:60(?:\\.[0-9]+)?(?:[zZ]|[+-]00:00))"
#define DURATION_TIME "T(?:[0-9]+H(?:[0-9]+M(?:[0-9]+S)?)?|[0-9]+M(?:[0-9]+S)?|[0-9]+S)"
#define DURATION                                                                                   \
	"P(?:[0-9]+W|" DURATION_TIME "|(?:[0-9]+Y(?:[0-9]+M(?:[0-9]+D)?)?|[0-9]+M(?:[0-9]+D)?|"        \
	"[0-9]+D)(?:" DURATION_TIME ")?)"

/* ---- Names of machines ----------------------------------------------------------------------- */

#define LABEL "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
#define HOSTNAME LABEL "(?:\\." LABEL ")*"
#define ATOM "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+"
#define EMAIL "(?=[^@]{1,64}@.{1,253}$)" ATOM "(?:\\." ATOM ")*@" HOSTNAME
#define OCTET "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
#define IPV4 "(?:" OCTET "\\.){3}" OCTET
#define H16 "[0-9a-fA-F]{1,4}"
#define LS32 "(?:" H16 ":" H16 "|" IPV4 ")"
#define IPV6                                                                                       \
	"(?:(?:" H16 ":){6}" LS32 "|::(?:" H16 ":){5}" LS32 "|(?:" H16 ")?::(?:" H16 ":){4}" LS32      \
	"|(?:(?:" H16 ":){0,1}" H16 ")?::(?:" H16 ":){3}" LS32 "|(?:(?:" H16 ":){0,2}" H16             \
	")?::(?:" H16 ":){2}" LS32 "|(?:(?:" H16 ":){0,3}" H16 ")?::" H16 ":" LS32 "|(?:(?:" H16       \
	":){0,4}" H16 ")?::" LS32 "|(?:(?:" H16 ":){0,5}" H16 ")?::" H16 "|(?:(?:" H16 ":){0,6}" H16   \
	")?::)"

/* ---- Addresses of resources (RFC 3986; RFC 3987 with more characters) ------------------------ */

#define PERCENT "%[0-9a-fA-F]{2}"
#define UNRESERVED "a-zA-Z0-9._~-"
#define UCS                                                                                        \
	"\\u{A0}-\\u{D7FF}\\u{F900}-\\u{FDCF}\\u{FDF0}-\\u{FFEF}\\u{10000}-\\u{1FFFD}"                 \
	"\\u{20000}-\\u{2FFFD}\\u{30000}-\\u{3FFFD}\\u{40000}-\\u{DFFFD}\\u{E1000}-\\u{EFFFD}"
#define SUB "!$&'()*+,;="
#define SCHEME "[a-zA-Z][a-zA-Z0-9+.-]*:"
#define CHARS(set) "(?:[" set SUB UNRESERVED "]|" PERCENT ")"
#define AUTHORITY(more)                                                                            \
	"//(?:" CHARS(":" more) "*@)?(?:\\[(?:" IPV6 "|[vV][0-9a-fA-F]+\\.[:" SUB UNRESERVED           \
							"]+)\\]|" CHARS(more) "*)(?::[0-9]*)?"
#define SEGMENTS(more) "(?:/" CHARS(":@" more) "*)*"
#define ABSOLUTE(more) "/(?:" CHARS(":@" more) "+" SEGMENTS(more) ")?"
#define TAIL(more) "(?:\\?" CHARS(":@/?" more) "*)?(?:#" CHARS(":@/?" more) "*)?"
#define ROOTED(more) "(?:" AUTHORITY(more) SEGMENTS(more) "|" ABSOLUTE(more) "|)"
#define ROOTLESS(more, first) CHARS(first more) "+" SEGMENTS(more)
#define URI(more) SCHEME "(?:" ROOTED(more) "|" ROOTLESS(more, ":@") ")" TAIL(more)
#define REFERENCE(more)                                                                            \
	"(?:(?:" SCHEME ")?" ROOTED(more) "|" SCHEME ROOTLESS(more, ":@") "|" ROOTLESS(                \
		more, "@") ")" TAIL(more)

#define JSON_POINTER "(?:/(?:[^~/]|~[01])*)*"

/* ---- Templates of addresses (RFC 6570) ------------------------------------------------------- */

#define VARCHAR "(?:[a-zA-Z0-9_]|" PERCENT ")"
#define VARIABLE VARCHAR "(?:\\.?" VARCHAR ")*(?::[1-9][0-9]{0,3}|\\*)?"
#define URI_TEMPLATE                                                                               \
	"(?:[!#$&(-;=?-\\[\\]_a-z~" UCS "]|" PERCENT "|\\{[+#./;?&]?" VARIABLE "(?:," VARIABLE ")*\\}" \
	")*"

typedef struct format
{
	const char *name;
	const char *pattern;
} format;

static const format FORMATS[] = {
	{"date", "(?!0000)" DATE},
	{"date-time", "(?!0000)" DATE "[tT]" TIME},
	{"duration", DURATION},
	{"email", EMAIL},
	{"hostname", "(?=.{1,253}$)" HOSTNAME},
	{"ipv4", IPV4},
	{"ipv6", IPV6},
	{"iri", URI(UCS)},
	{"iri-reference", REFERENCE(UCS)},
	{"json-pointer", JSON_POINTER},
	{"relative-json-pointer", "(?:0|[1-9][0-9]*)(?:#|" JSON_POINTER ")"},
	{"time", TIME},
	{"uri", URI("")},
	{"uri-reference", REFERENCE("")},
	{"uri-template", URI_TEMPLATE},
	{"uuid", "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"},
};

static const char *const REFUSED[] = {"idn-email", "idn-hostname"};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

int
glm_dfa_format(glm_arena *arena, const char *name, glm_component out[GLM_PATTERN_COMPONENTS])
{
	const char *pattern = strcmp(name, "regex") == 0 ? glm_regex_format(arena) : NULL;

	for (size_t i = 0; i < COUNT(FORMATS); i++)
		if (strcmp(name, FORMATS[i].name) == 0)
			pattern = FORMATS[i].pattern;
	return pattern != NULL ? glm_pattern_components(arena, pattern, strlen(pattern), true, out) : 0;
}

bool
glm_format_refused(const char *name)
{
	for (size_t i = 0; i < COUNT(REFUSED); i++)
		if (strcmp(name, REFUSED[i]) == 0)
			return true;
	return false;
}

/**
 * names_util.h - What the probes of names share: the names of the hosts file, and words for answers
 */
#ifndef NAMES_UTIL_H
#define NAMES_UTIL_H

#include "probe.h"

#define NAMED	 "server.probe.test"
#define ALIAS	 "alias.probe.test"
#define NAMED4	 "four.probe.test"
#define ADDRESS	 "10.147.17.77"
#define ADDRESS6 "fd00:17::77"

/** eai() - Name of an EAI_* value, "0" for none */
const char *eai(int e);
/** text_of() - Text of the address in @a, good until the next call */
const char *text_of(const struct sockaddr *a);

#endif

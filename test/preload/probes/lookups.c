/**
 * lookups.c - Questions to name servers, whole messages, and look-ups beside the program
 *
 * The kernel's run brings a name server along, which knows one address of NAMED; the virtual
 * network has the hosts file (names.c).
 *
 * usage: lookups [CASE...]
 */
#define _GNU_SOURCE
#include "names_util.h"

#include <arpa/nameser.h>
#include <netdb.h>
#include <resolv.h>
#include <signal.h>

typedef int domain_call(const char *name, const char *domain, int class, int type,
			unsigned char *answer, int len);
typedef int ndomain_call(res_state state, const char *name, const char *domain, int class, int type,
			 unsigned char *answer, int len);
typedef int send_call(const unsigned char *message, int len, unsigned char *answer, int room);
typedef int nsend_call(res_state state, const unsigned char *message, int len,
		       unsigned char *answer, int room);

/** respond() - Name server of the kernel's run: A of NAMED, nothing else of it, no other name */
static void respond(void)
{
	static const uint8_t name[] = "\6server\5probe\4test";
	static const uint8_t record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 147, 17, 77};
	struct sockaddr_in a = to("127.0.0.1", 53), from;
	socklen_t len = sizeof(from);
	uint8_t m[512];
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	ssize_t n;

	bind(fd, (void *)&a, sizeof(a));
	while ((n = recvfrom(fd, m, 400, 0, (void *)&from, &len)) > 12) {
		size_t end = 12 + strlen((char *)m + 12) + 5;
		bool known = memcmp(m + 12, name, sizeof(name)) == 0;
		bool has = known && m[end - 3] == 1;

		m[2] = 0x85;
		m[3] = known ? 0x80 : 0x83;
		m[7] = has;
		m[8] = m[9] = m[10] = m[11] = 0;
		memcpy(m + end, record, sizeof(record));
		sendto(fd, m, end + (has ? sizeof(record) : 0), 0, (void *)&from, len);
		len = sizeof(from);
	}
}

typedef int query_call(const char *name, int class, int type, unsigned char *answer, int len);
typedef int nquery_call(res_state state, const char *name, int class, int type,
			unsigned char *answer, int len);

#if defined(__x86_64__) && !defined(PROBE_STATIC)
/* Second names, as programs of before glibc 2.34 refer to them. */
query_call old_query, old_search;
nquery_call old_nquery, old_nsearch;
__asm__(".symver old_query, __res_query@GLIBC_2.2.5");
__asm__(".symver old_search, __res_search@GLIBC_2.2.5");
__asm__(".symver old_nquery, __res_nquery@GLIBC_2.2.5");
__asm__(".symver old_nsearch, __res_nsearch@GLIBC_2.2.5");
domain_call old_querydomain;
ndomain_call old_nquerydomain;
send_call old_send;
nsend_call old_nsend;
__asm__(".symver old_querydomain, __res_querydomain@GLIBC_2.2.5");
__asm__(".symver old_nquerydomain, __res_nquerydomain@GLIBC_2.2.5");
__asm__(".symver old_send, __res_send@GLIBC_2.2.5");
__asm__(".symver old_nsend, __res_nsend@GLIBC_2.2.5");
#endif

static void say_answer(const char *what, int n, const unsigned char *m)
{
	if (n < 0)
		say("%s h_errno %d", what, h_errno);
	else
		say("%s length %d code %d answers %d last byte %d", what, n, m[3] & 15, m[7],
		    m[n - 1]);
}

static void ask(const char *what, query_call *call, const char *name, int type)
{
	unsigned char m[512] = {0};

	h_errno = 0;
	say_answer(what, call(name, C_IN, type, m, sizeof(m)), m);
}

static void ask_state(const char *what, nquery_call *call)
{
	unsigned char m[512] = {0};

	res_init();
	say_answer(what, call(&_res, NAMED, C_IN, T_A, m, sizeof(m)), m);
}

/** start_server() - respond() in a process of its own */
static pid_t start_server(void)
{
	pid_t server;

	fflush(stdout);
	server = fork();
	if (server == 0)
		respond();
	nap(100);
	return server;
}

static void n_dns(void)
{
	unsigned char small[16];
	pid_t server = start_server();

	ask("query", res_query, NAMED, T_A);
	ask("search", res_search, NAMED ".", T_A);
	ask("no data", res_query, NAMED, T_TXT);
	ask("no name", res_query, "nobody.probe.test", T_A);
	ask("long label", res_query,
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.test", T_A);
	ask_state("nquery", res_nquery);
	ask_state("nsearch", res_nsearch);
#if defined(__x86_64__) && !defined(PROBE_STATIC)
	ask("__query", old_query, NAMED, T_A);
	ask("__search", old_search, NAMED ".", T_A);
	ask_state("__nquery", old_nquery);
	ask_state("__nsearch", old_nsearch);
#endif
	say("short room %d", res_query(NAMED, C_IN, T_A, small, sizeof(small)));
	kill(server, SIGKILL);
}

static void ask_domain(const char *what, domain_call *call, const char *name, const char *domain)
{
	unsigned char m[512] = {0};

	h_errno = 0;
	say_answer(what, call(name, domain, C_IN, T_A, m, sizeof(m)), m);
}

static void ask_domain_state(const char *what, ndomain_call *call)
{
	unsigned char m[512] = {0};

	say_answer(what, call(&_res, "server", "probe.test", C_IN, T_A, m, sizeof(m)), m);
}

/** send_question() - A whole message: the answer has its number, whatever it says */
static void send_question(const char *what, send_call *plain, nsend_call *with_state,
			  const char *name, int type, int room)
{
	unsigned char q[512], m[512] = {0};
	int len = res_mkquery(QUERY, name, C_IN, type, NULL, 0, NULL, q, sizeof(q));
	int n = plain != NULL ? plain(q, len, m, room) : with_state(&_res, q, len, m, room);

	if (n < 0)
		say("%s %s", what, err(n));
	else
		say("%s length %d code %d answers %d own number %d", what, n, m[3] & 15, m[7],
		    memcmp(q, m, 2) == 0);
}

static void n_messages(void)
{
	pid_t server = start_server();
	char name[1100];

	res_init();
	memset(name, 'a', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	ask_domain("domain", res_querydomain, "server", "probe.test");
	ask_domain("no domain", res_querydomain, NAMED, NULL);
	ask_domain("dot", res_querydomain, NAMED ".", NULL);
	ask_domain("no name", res_querydomain, "nobody", "probe.test");
	ask_domain("too long", res_querydomain, name, "test");
	ask_domain_state("state", res_nquerydomain);
	send_question("send", res_send, NULL, NAMED, T_A, 512);
	send_question("no data", res_send, NULL, NAMED, T_TXT, 512);
	send_question("no name", res_send, NULL, "nobody.probe.test", T_A, 512);
	send_question("no room", res_send, NULL, NAMED, T_A, 8);
	send_question("nsend", NULL, res_nsend, NAMED, T_A, 512);
#if defined(__x86_64__) && !defined(PROBE_STATIC)
	ask_domain("__domain", old_querydomain, "server", "probe.test");
	ask_domain_state("__state", old_nquerydomain);
	send_question("__send", old_send, NULL, NAMED, T_A, 512);
	send_question("__nsend", NULL, old_nsend, NAMED, T_A, 512);
#endif
	kill(server, SIGKILL);
}

/* -------------------------------------------------------- look-ups beside */

static volatile sig_atomic_t told;
static volatile int told_value, told_code;

static void on_told(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	told_value = info->si_value.sival_int;
	told_code = info->si_code;
	told = 1;
}

static void on_thread(union sigval value)
{
	told_value = value.sival_int;
	told = 1;
}

static void say_request(const char *what, struct gaicb *request)
{
	int e = gai_error(request);

	say("%s %s", what, eai(e));
	for (struct addrinfo *i = e == 0 ? request->ar_result : NULL; i != NULL; i = i->ai_next)
		say("%s %s", what, text_of(i->ai_addr));
	if (e == 0)
		freeaddrinfo(request->ar_result);
}

/** await_all() - gai_suspend() until nothing is under way */
static void await_all(const char *what, struct gaicb **list, int count)
{
	int e;

	while ((e = gai_suspend((const struct gaicb *const *)list, count, NULL)) == 0 ||
	       e == EAI_INTR)
		continue;
	say("%s all done %d", what, e == EAI_ALLDONE);
}

static void await_told(const char *what)
{
	for (int i = 0; i < SETTLE_MS && told == 0; i++)
		nap(1);
	say("%s told %d value %d", what, told, told_value);
	told = told_value = 0;
}

/** fill() - Requests of one start: libc may still look at those of one that has ended */
static void fill(struct gaicb *list[4], struct gaicb requests[3])
{
	list[0] = &requests[0];
	list[1] = NULL;
	list[2] = &requests[1];
	list[3] = &requests[2];
}

static void n_async(void)
{
	struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
	static struct gaicb all[4][3];
	struct gaicb *list[4], *none[] = {NULL};
	struct sigaction action = {.sa_sigaction = on_told, .sa_flags = SA_SIGINFO};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	pid_t server = start_server();

	for (int i = 0; i < 4; i++) {
		all[i][0] =
			(struct gaicb){.ar_name = NAMED4, .ar_service = "80", .ar_request = &hints};
		all[i][1] = (struct gaicb){.ar_name = "nobody.probe.test", .ar_request = &hints};
		all[i][2] = (struct gaicb){.ar_name = "10.1.2.3", .ar_request = &hints};
	}

	sigaction(SIGUSR1, &action, NULL);
	fill(list, all[0]);
	say("wait %s", eai(getaddrinfo_a(GAI_WAIT, list, 4, NULL)));
	say_request("known", list[0]);
	say_request("nobody", list[2]);
	say_request("number", list[3]);
	say("cancel done %d", gai_cancel(list[0]) == EAI_ALLDONE);
	fill(list, all[1]);
	say("started %s", eai(getaddrinfo_a(GAI_NOWAIT, list, 4, NULL)));
	await_all("started", list, 4);
	say_request("known", list[0]);
	say_request("nobody", list[2]);
	say_request("number", list[3]);
	event.sigev_value.sival_int = 7;
	fill(list, all[2]);
	say("signal %s", eai(getaddrinfo_a(GAI_NOWAIT, list, 4, &event)));
	await_told("signal");
	say("signal code %d", told_code == SI_ASYNCNL);
	say_request("known", list[0]);
	event = (struct sigevent){.sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_thread};
	event.sigev_value.sival_int = 8;
	fill(list, all[3]);
	say("thread %s", eai(getaddrinfo_a(GAI_NOWAIT, list, 4, &event)));
	await_told("thread");
	say_request("known", list[0]);
	say("nothing %s", eai(getaddrinfo_a(GAI_NOWAIT, none, 1, NULL)));
	say("nothing done %d",
	    gai_suspend((const struct gaicb *const *)none, 1, NULL) == EAI_ALLDONE);
	errno = 0;
	say("mode %d", getaddrinfo_a(9, list, 4, NULL) == EAI_SYSTEM);
	say("mode %s", ename(errno));
	kill(server, SIGKILL);
}

static const struct probe_case cases[] = {
	{"N-dns", n_dns},
	{"N-messages", n_messages},
	{"N-async", n_async},
};

PROBE_MAIN(cases)

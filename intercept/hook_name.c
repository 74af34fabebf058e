/** hook_name.c - placeholder */
typedef int zt_nothing;

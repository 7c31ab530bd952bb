/* What a C library costs before main: nothing else happens here. */
int main(void) { return 0; }

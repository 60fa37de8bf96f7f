/* The cheapest program there is: what an exec costs, and nothing else. */
int main(void)
{
	return 0;
}
